"""KodCode (Xu et al. 2025, arXiv 2503.02951), and other rows whose tests are written for pytest.

    {"question_id": "Algorithm_3_I", "question": "..", "solution": "def f(x): ..",
     "test": "from solution import f\\n\\ndef test_one():\\n    assert f(1) == 2", "test_info": [..]}

Each test function is a test. They run with what pytest_stand_in.py has of pytest, and what they take from the solution
are proxies that ask the program. Classes of the solution that only hold something, such as nodes, are made on both
sides.
"""

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from eval.problems.code.plain_use import constants, require_plain_use
from eval.problems.code.prompts import ENDING
from eval.problems.code.row import (
    EACH,
    CannotGrade,
    CodeProblem,
    in_fence,
    module,
    name,
    require_gradable,
    require_tests,
    text,
)
from eval.row_files import Row

COLUMNS = ("question", "solution")
SECONDS = 60.0
"""For all tests together."""

STAND_IN = Path(__file__).with_name("pytest_stand_in.py").read_text(encoding="utf-8")

# What classes of a solution are written with.
_SUPPORT = f"{STAND_IN}\nfrom dataclasses import dataclass, field\nfrom typing import *\n"

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_FROM = "solution"
_HOOKS = ("setup_module", "teardown_module", "setup_function", "teardown_function", "setup_class")


def read(row: Row) -> CodeProblem:
    """Raises CannotGrade."""
    question, solution = text(row, "question"), text(row, "solution")
    test = text(row, "test" if row.get("test") else "test_code")
    require_gradable(row, question)
    tree, theirs = module(test, "tests"), module(solution, "solutions")
    defined, holders = _defined(theirs), {node.name: node for node in theirs.body if _only_holds(node)}
    if set(holders) != _classes(theirs):  # another class may keep such an instance, and know it by its identity
        holders = {}
    asked = _Asked(defined, constants(theirs))
    tree = asked.visit(tree)
    used = (asked.names | _free(tree) & defined) - _defined(tree)
    tree.body[:0] = [holders[one] for one in sorted(used & set(holders))]
    names = sorted(used - set(holders))
    require_plain_use(tree, set(names), asked.modules, theirs)
    tests = list(_tests(tree))
    if not tests:
        raise CannotGrade("have no test functions")
    if not names:
        raise CannotGrade("have tests that never ask the program")
    ast.fix_missing_locations(tree)
    setup = ast.unparse(tree)
    require_tests(setup)
    classes = sorted(_classes(tree) & _classes(theirs))
    answer = {"names": names, "support": _SUPPORT, "setup": setup, "asserts": tests, "classes": classes,
              "seconds": SECONDS, "each": EACH}
    told = [f"`{one}`" for one in names if one not in question]
    naming = f" Define {', '.join(told)}." if told else ""
    prompt = f"{question.strip()}\n\n{ENDING}{naming}\n"
    meta = {"solution": in_fence(solution)}
    for key in ("subset", "style", "gpt_difficulty"):
        if isinstance(row.get(key), str):
            meta[key] = row[key]
    return CodeProblem(name(row, "question_id", "id"), prompt, answer, question.strip(), meta)


class _Asked(ast.NodeTransformer):
    """Takes the imports of the solution and of pytest away, and the calls of tests at the end; `names` are what was
    imported from the solution, `modules` what it was imported as."""

    def __init__(self, defined: set[str], values: set[str]) -> None:
        self._defined, self._values = defined, values
        self.names: set[str] = set()
        self.modules: set[str] = set()

    def visit_Import(self, node: ast.Import) -> list[ast.stmt] | ast.stmt:
        kept: list[ast.stmt] = []
        for alias in node.names:
            if alias.name == _FROM:
                held = sorted(self._defined - self._values)
                self.names |= set(held)
                self.modules.add(alias.asname or _FROM)
                body = "\n".join(f"    {one} = staticmethod({one})" for one in held) or "    pass"
                kept += ast.parse(f"class {alias.asname or _FROM}:\n{body}").body
            elif alias.name == "pytest":
                kept += ast.parse(f"{alias.asname} = pytest").body if alias.asname else []
            else:
                kept.append(ast.Import([alias]))
        return kept or ast.Pass()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt] | ast.stmt:
        source = (node.module or "").removeprefix(".")
        if source not in (_FROM, "pytest") or node.level > 1:
            return node
        if source == _FROM:
            self.names |= self._defined if node.names[0].name == "*" else {alias.name for alias in node.names}
        return [*ast.parse("\n".join(
            f"{alias.asname or alias.name} = {'pytest.' if source == 'pytest' else ''}{alias.name}"
            for alias in node.names if alias.asname or source == "pytest")).body] or ast.Pass()

    def visit_Module(self, node: ast.Module) -> ast.Module:
        self.generic_visit(node)
        node.body = [one for one in node.body if not _runs_tests(one)]
        return node


def _runs_tests(node: ast.stmt) -> bool:
    """Whether a statement of a module calls its own tests, or is for running it as a script."""
    if isinstance(node, ast.If):
        return "__name__" in ast.unparse(node.test)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and (
        ast.unparse(node.value.func).startswith(("test_", "pytest.", "unittest.")))


def _tests(tree: ast.Module) -> Iterator[str]:
    """The call of each test. Raises CannotGrade where one needs what is not there."""
    for node in tree.body:
        if isinstance(node, _Function) and (node.name in _HOOKS or _is_fixture(node)):
            raise CannotGrade("have tests with fixtures", node.name)
        if isinstance(node, _Function) and node.name.startswith("test"):
            if _runs(node, 0):
                yield f"pytest.run({node.name})"
        elif isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or "TestCase" in ast.unparse(node)):
            for inner in node.body:
                if isinstance(inner, _Function) and (inner.name in _HOOKS or _is_fixture(inner)):
                    raise CannotGrade("have tests with fixtures", inner.name)
                if isinstance(inner, _Function) and inner.name.startswith("test") and _runs(inner, 1):
                    yield f"pytest.run_method({node.name}, {inner.name!r})"


def _is_fixture(node: _Function) -> bool:
    return any("fixture" in ast.unparse(one) for one in node.decorator_list)


def _runs(node: _Function, own: int) -> bool:
    """Whether a test is to be run: it is not skipped. Raises CannotGrade where it cannot be."""
    if isinstance(node, ast.AsyncFunctionDef):
        raise CannotGrade("have tests that are coroutines", node.name)
    marks = [ast.unparse(one) for one in node.decorator_list]
    if any("mark.skip" in one for one in marks):
        return False
    if any("xfail" in one or "usefixtures" in one for one in marks):
        raise CannotGrade("have tests that are expected to fail, or with fixtures", node.name)
    if any("patch" in one for one in marks):
        raise CannotGrade("have tests that patch the program", node.name)
    needed = [one.arg for one in node.args.args[own: len(node.args.args) - len(node.args.defaults)]]
    given = {word.strip() for one in node.decorator_list if isinstance(one, ast.Call) and "parametrize" in
             ast.unparse(one.func) and one.args for word in _words(one.args[0])}
    if missing := [one for one in needed if one not in given]:
        raise CannotGrade("have tests with fixtures", missing[0])
    return True


def _words(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.split(",")
    if isinstance(node, ast.List | ast.Tuple):
        return [str(one.value) for one in node.elts if isinstance(one, ast.Constant)]
    return []


def _defined(tree: ast.Module) -> set[str]:
    """What a module defines at its top, imports aside."""
    found = {node.name for node in tree.body if isinstance(node, _Function | ast.ClassDef)}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(
            node, ast.AnnAssign) else []
        found |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
    return found


def _only_holds(node: ast.stmt) -> TypeGuard[ast.ClassDef]:
    """Whether this is a class that has nothing but what makes it, shows it, and fields."""
    return isinstance(node, ast.ClassDef) and not node.bases and not node.keywords and all(
        "dataclass" in ast.unparse(one) for one in node.decorator_list) and all(
        isinstance(one, ast.AnnAssign | ast.Assign | ast.Expr | ast.Pass)
        or (isinstance(one, ast.FunctionDef) and one.name in ("__init__", "__repr__", "__str__")) for one in node.body)


def _classes(tree: ast.Module) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def _free(tree: ast.Module) -> set[str]:
    """Names that a module reads and that Python does not have."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)} - set(
        vars(builtins))
