"""Whether tests written for pytest use what they take from a solution as a proxy can be used.

Functions can be called, and handed to what calls them; so can classes, whose instances have methods, attributes, items,
length and text. The rest stays with the program: its constants, what stands in its classes, and how its instances
compare. No program can pass tests that need it, so that a row with such tests is left out, and counted.
"""

import ast
import builtins
import re
from collections.abc import Iterator

from eval.problems.code.row import CannotGrade

_CATCHING = ("isinstance", "issubclass", "raises", "assertRaises", "assertIsInstance")
_PATCHING = ("patch", "monkeypatch", "setattr")
_CATCHING_OUTPUT = ("open", "redirect_stdout", "contextlib.redirect_stdout")
_NOT_PLAIN = frozenset(("deque", "Fraction", "Decimal", "datetime", "date", "timedelta", "UUID", "Path", "namedtuple",
                        "StringIO", "BytesIO", "iter"))
"""What makes values that do not go from one process to the other. Those that do are in rewards/sandbox/values.py."""


def require_plain_use(tree: ast.Module, names: set[str], modules: set[str], solution: ast.Module) -> None:
    """Raises CannotGrade where tests use `names`, of which they get proxies, as what a proxy is not. `modules` are what
    they call the solution as a whole."""
    raising = {inner for node in ast.walk(tree) if isinstance(node, ast.With | ast.Try) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node not in raising and ast.unparse(
                node.value.func) in names:
            raise CannotGrade("have tests of what a call changes or prints", ast.unparse(node))
        _require_no_class(node, names)
    classes = {node.name for node in solution.body if isinstance(node, ast.ClassDef)}
    bound = _bound(tree, modules)
    _require_nothing_inside(tree, names - bound, modules, classes, constants(solution))
    fields = set(_fields(solution))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)} - names - bound
    made = _NOT_PLAIN & {node.id if isinstance(node, ast.Name) else node.attr for node in ast.walk(solution)
                         if isinstance(node, ast.Name | ast.Attribute)}
    for part in tree.body:
        _require_no_comparison(part, names & classes)
        for node in ast.walk(part):
            if isinstance(node, ast.Attribute) and node.attr in fields:
                raise CannotGrade("have tests that read a named tuple by its names", node.attr)
            _require_plain_values(node, names, functions, made)


def constants(solution: ast.Module) -> set[str]:
    """What a module defines at its top that is no function and no class: a value, and not another name of one."""
    found: set[str] = set()
    for node in solution.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and not isinstance(node.value, ast.Lambda | ast.Name | None):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
    return found


def _bound(tree: ast.Module, modules: set[str]) -> set[str]:
    """Names that tests give to something of their own, which may be other things than what the solution calls so.
    Classes that stand for the solution as a whole are not theirs."""
    own = [node for part in tree.body if not (isinstance(part, ast.ClassDef) and part.name in modules)
           for node in ast.walk(part)]
    return {node.id for node in own if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)} | {
        node.arg for node in own if isinstance(node, ast.arg)}


def _fields(solution: ast.Module) -> Iterator[str]:
    """What the parts of a solution's named tuples are called; to the tests they are tuples without names."""
    for node in ast.walk(solution):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "namedtuple":
            yield from re.findall(r"\w+", " ".join(map(ast.unparse, node.args[1:])))
        elif isinstance(node, ast.ClassDef) and any("NamedTuple" in ast.unparse(base) for base in node.bases):
            yield from (one.target.id for one in node.body if isinstance(one, ast.AnnAssign)
                        and isinstance(one.target, ast.Name))


def _require_no_class(node: ast.AST, names: set[str]) -> None:
    """Raises CannotGrade where a class of the program is to be caught, compared with or extended, or the program is to
    be patched, or to use files."""
    classes: list[ast.expr | None] = []
    if isinstance(node, ast.ExceptHandler):
        classes = [node.type]
    elif isinstance(node, ast.ClassDef):
        classes = [*node.bases]
    elif isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        last = called.rpartition(".")[2]
        if last in _CATCHING:
            classes = [*node.args]
        elif last in _PATCHING:
            raise CannotGrade("have tests that patch the program", called)
        elif called in _CATCHING_OUTPUT or "tempfile" in called:
            raise CannotGrade("have tests that use files or catch what is printed", called)
        classes = [one for one in classes if not isinstance(one, ast.Call)]
    for one in classes:
        used = {inner.id for inner in ast.walk(one) if isinstance(inner, ast.Name)} if one is not None else set()
        # A function may well be the one that is to raise.
        if wrong := {inner for inner in used & names if inner[:1].isupper()}:
            raise CannotGrade("have tests that need a class of the program's own", min(wrong))


def _require_nothing_inside(tree: ast.Module, names: set[str], modules: set[str], classes: set[str],
                            values: set[str]) -> None:
    """Raises CannotGrade where tests read a constant of the program, or what stands in a class or function of its."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name in names & values and id(node) not in called:
                raise CannotGrade("have tests that read a value of the program's own", name)
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in modules and name in values:
                raise CannotGrade("have tests that read a value of the program's own", name)
            case ast.Attribute(value=ast.Name(id=name)) if name in names:
                raise CannotGrade("have tests that look into a class or function of the program's own",
                                  ast.unparse(node))
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id=module), attr=name)) if (
                    module in modules and name in classes):
                raise CannotGrade("have tests that look into a class or function of the program's own",
                                  ast.unparse(node))


def _require_no_comparison(part: ast.stmt, classes: set[str]) -> None:
    """Raises CannotGrade where a test compares an instance of the program's classes, or needs what else only its class
    can say."""
    instances = {ast.unparse(target) for node in ast.walk(part) if isinstance(node, ast.Assign)
                 and _makes(node.value, classes) for target in node.targets}
    for node in ast.walk(part):
        for one in _decided(node):
            if _makes(one, classes) or ast.unparse(one) in instances:
                raise CannotGrade("have tests that compare an instance of the program's own, or the like",
                                  ast.unparse(one))


def _makes(node: ast.expr, classes: set[str]) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in classes


def _decided(node: ast.AST) -> Iterator[ast.expr]:
    """What a piece of a program compares, computes with, or takes for true or false."""
    match node:
        case ast.Compare(left=left, ops=operators, comparators=others):
            for operator, one, other in zip(operators, [left, *others], others, strict=False):
                if isinstance(operator, ast.In | ast.NotIn):
                    yield other
                elif not isinstance(operator, ast.Is | ast.IsNot):
                    yield from (one, other)
        case ast.BinOp(left=left, op=operator, right=right) if not isinstance(operator, ast.Mod):  # which may write it
            yield from (left, right)
        case ast.Assert(test=test) | ast.If(test=test):
            yield test
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.withitem(context_expr=entered):
            yield entered
        case ast.Call(func=ast.Name(id="bool" | "hash") | ast.Attribute(attr="assertTrue" | "assertFalse"),
                      args=[first, *_]):
            yield first
        case ast.Call(func=ast.Attribute(attr="assertEqual" | "assertNotEqual"), args=[one, other, *_]):
            yield from (one, other)
        case ast.Call(func=ast.Attribute(attr="assertIn" | "assertNotIn"), args=[_, holder, *_]):
            yield holder


def _require_plain_values(node: ast.AST, names: set[str], functions: set[str], made: frozenset[str]) -> None:
    """Raises CannotGrade where tests hand the program what is not plain data, or compare what it gives with such data
    as it makes."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
        for one in (*node.args, *(given.value for given in node.keywords)):
            if isinstance(one, ast.Lambda) or _is_one_of(one, _NOT_PLAIN) or (
                    isinstance(one, ast.Name) and one.id in functions):
                raise CannotGrade("have tests that hand over what is not plain data", ast.unparse(one))
    if isinstance(node, ast.Compare):
        for operator, one in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.Is) and isinstance(one, ast.Name) and one.id not in vars(builtins):
                raise CannotGrade("have tests that ask for the very same object", ast.unparse(node))
        for one in (node.left, *node.comparators):
            if _is_one_of(one, made):
                raise CannotGrade("have tests that compare with what is not plain data", ast.unparse(one))


def _is_one_of(node: ast.expr, kinds: frozenset[str]) -> bool:
    """Whether one of these makes it, such as `Fraction(1, 2)` or `datetime.fromisoformat(..)`."""
    return isinstance(node, ast.Call) and bool(kinds.intersection(re.findall(r"\w+", ast.unparse(node.func)))) and (
        re.fullmatch(r"[\w.]+", ast.unparse(node.func)) is not None)
