"""The rules of the house: functions of a source tree that name what breaks them, so that each can be tried on a planted
violation."""

import ast
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FLOORS = ("rewards", "eval", "pipeline")
"""A floor imports itself and those before it."""

ROOMS = (
    "disk", "contract", "recipe", "store", "data", "moe", "models", "training", "serving", "rl", "distillation",
    "stages", "run", "costs", "results", "exports", "authoring", "bench", "commands",
)
"""The rooms of pipeline/ from the ground up. A room imports itself and those before it."""

ONE_A_KIND = ("stages", "commands")
"""Rooms that hold a file for each stage kind and for each command, however many these are."""

MOST_FILES = 12
MOST_LINES = {"file": 400, "function": 60}
MOST_RETURNS = 6
MOST_PARAMETERS = 8
MOST_ANYS = 80

BARE_PROCESSES = (
    "rewards/conventions/process.py", "rewards/gym_scorer.py", "rewards/row_process.py", "pipeline/run/zygote.py",
)
"""Scripts of child processes, which set their path or their limits before they import what they run."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(root: Path) -> list[Path]:
    return sorted(file for folder in (*FLOORS, "recipes") for file in (root / folder).rglob("*.py"))


def name_of(root: Path, file: Path) -> str:
    """The dotted name of a module, of a package for its `__init__.py`."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imports(file: Path, *, at_start: bool = False) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Line, absolute module and names (none of `import module`) of every import in a file, those in functions, `with
    lazy:` blocks and `if TYPE_CHECKING:` included; with `at_start` only of those that run when it is imported."""
    inside: list[ast.AST] = [*parsed(file).body]
    while inside:
        node = inside.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            yield node.lineno, node.module or "", tuple(alias.name for alias in node.names)
        elif not (at_start and _runs_later(node)):
            inside += ast.iter_child_nodes(node)


def _runs_later(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    if isinstance(node, ast.With):
        return any(ast.unparse(item.context_expr) == "lazy" for item in node.items)
    return isinstance(node, Function)


def edges(root: Path) -> dict[str, dict[str, str]]:
    """Of each module the modules of this tree that it imports, with the place where it does. `from package import name`
    is the module `package.name` where there is one, else the package. Packages around a module are imported before it,
    and so are edges, too, but for those that the importer is in itself."""
    known = {name_of(root, file): file for file in sources(root)}
    found: dict[str, dict[str, str]] = {name: {} for name in known}
    for name, file in known.items():
        for line, module, names in imports(file):
            inner = [f"{module}.{one}" for one in names]
            for target in {one if one in known else module for one in inner} or {module}:
                around = [package for package in _packages(target) if not f"{name}.".startswith(f"{package}.")]
                for one in {target, *around} & set(known):
                    found[name].setdefault(one, f"{file.relative_to(root)}:{line}")
    return found


def _packages(module: str) -> list[str]:
    """The packages around a module, such as a and a.b for a.b.c."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def upward(root: Path) -> list[str]:
    """Imports of a floor, or of a room of pipeline/, from one above it. Of pipeline/ `stage.py` alone is in no room,
    and only re-exports for plug-ins; `recipes` are data that pipeline reads."""
    wrong = []
    for file in sources(root):
        of = _level(name_of(root, file))
        for line, module, names in imports(file):
            for target in [f"{module}.{name}" for name in names] or [module]:
                to = _level(target)
                if to is not None and (of is None or to > of) and not (of and target == "recipes"):
                    wrong.append(f"{file.relative_to(root)}:{line} imports {target}")
    return wrong


def _level(module: str) -> tuple[int, int] | None:
    """(floor, room) of a module of ours; of pipeline/stage.py what it re-exports, the contract."""
    floor, _, rest = module.partition(".")
    if floor in ("recipes", "tests"):
        return len(FLOORS), 0
    if floor not in FLOORS:
        return None
    room = rest.partition(".")[0]
    if floor != "pipeline" or not room:
        return FLOORS.index(floor), 0
    if room == "stage":
        return FLOORS.index(floor), ROOMS.index("contract")
    return FLOORS.index(floor), ROOMS.index(room) if room in ROOMS else len(ROOMS)


def circles(root: Path) -> list[str]:
    """Groups of modules each of which imports all others in the end (Tarjan's strongly connected components)."""
    graph = edges(root)
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for target in graph[name]:
            if target not in number:
                visit(target)
            if target in stack:
                low[name] = min(low[name], low[target])
        if low[name] == number[name]:
            group = stack[stack.index(name):]
            del stack[stack.index(name):]
            if len(group) > 1 or name in graph[name]:
                found.append(group)

    for name in graph:
        if name not in number:
            visit(name)
    return [" <-> ".join(sorted(group)) for group in found]


def crowded(root: Path) -> list[str]:
    """Rooms of more files than a newcomer takes in, and files of pipeline/ that are in no room."""
    wrong = []
    for folder in sorted({file.parent for file in sources(root)}):
        place = folder.relative_to(root).as_posix()
        count = sum(file.name != "__init__.py" for file in folder.glob("*.py"))
        if place.startswith("pipeline/") and folder.name not in ONE_A_KIND and count > MOST_FILES:
            wrong.append(f"{place}: {count} files")
    loose = {file.name for file in (root / "pipeline").glob("*.py")} - {"__init__.py", "stage.py"}
    rooms = {folder.name for folder in (root / "pipeline").iterdir() if any(folder.glob("*.py"))} - set(ROOMS)
    return wrong + [f"pipeline/{name} is in no room" for name in sorted(loose | rooms)]


def long_files(root: Path) -> list[str]:
    files = [*sources(root), *(root / "tests").rglob("*.py")]
    lengths = {file: len(file.read_text().splitlines()) for file in files}
    return [f"{file.relative_to(root)}: {length} lines" for file, length in lengths.items()
            if length > MOST_LINES["file"]]


def functions(root: Path) -> Iterator[tuple[str, Function]]:
    for file in sources(root):
        for node in ast.walk(parsed(file)):
            if isinstance(node, Function):
                yield f"{file.relative_to(root)}:{node.lineno} {node.name}", node


def long_functions(root: Path) -> list[str]:
    lengths = {place: (node.end_lineno or node.lineno) - node.lineno + 1 for place, node in functions(root)}
    return [f"{place}: {length} lines" for place, length in lengths.items() if length > MOST_LINES["function"]]


def many_returns(root: Path) -> list[str]:
    counts = {place: _returns(node) for place, node in functions(root)}
    return [f"{place}: {count} returns" for place, count in counts.items() if count > MOST_RETURNS]


def _returns(function: Function) -> int:
    inside: list[ast.AST] = [*function.body]
    count = 0
    while inside:
        node = inside.pop()
        count += isinstance(node, ast.Return)
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):  # what is inside these returns for itself
            inside += ast.iter_child_nodes(node)
    return count


def many_parameters(root: Path) -> list[str]:
    counts = {place: _parameters(node.args) for place, node in functions(root)}
    return [f"{place}: {count} parameters" for place, count in counts.items() if count > MOST_PARAMETERS]


def _parameters(args: ast.arguments) -> int:
    named = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    count = len(named) + (args.vararg is not None) + (args.kwarg is not None)
    return count - (named[:1] in (["self"], ["cls"]))


def late_imports(root: Path) -> list[str]:
    """Imports inside functions. What is to be loaded late is imported in a `with lazy:` block (rewards/lazy.py)."""
    wrong = []
    for place, node in functions(root):
        if place.partition(":")[0] not in BARE_PROCESSES:
            wrong += [f"{place} imports in line {inner.lineno}" for inner in ast.walk(node)
                      if isinstance(inner, ast.Import | ast.ImportFrom)]
    return sorted(set(wrong))


def anys(root: Path) -> list[str]:
    """Every use of `Any` in pipeline/, those in quoted annotations included."""
    found = []
    for file in sources(root):
        if not file.is_relative_to(root / "pipeline"):
            continue
        with file.open("rb") as stream:
            tokens = [*tokenize.tokenize(stream.readline)]
        importing = {node.lineno for node in ast.walk(parsed(file)) if isinstance(node, ast.ImportFrom)}
        found += [f"{file.relative_to(root)}:{token.start[0]}" for token in tokens
                  if _says_any(token) and token.start[0] not in importing]
    return found


def _says_any(token: tokenize.TokenInfo) -> bool:
    if token.type == tokenize.STRING:
        return re.fullmatch(r'"[\w\[\], .|]*\bAny\b[\w\[\], .|]*"', token.string) is not None
    return token.type == tokenize.NAME and token.string == "Any"


def anys_without_reason(root: Path) -> list[str]:
    """Files of pipeline/ that import `Any` and do not say why: in a comment behind the import or in the line before."""
    wrong = []
    for file in sources(root):
        lines = file.read_text().splitlines()
        for number, line in enumerate(lines):
            said = "#" in line or (number > 0 and lines[number - 1].startswith("#"))
            if file.is_relative_to(root / "pipeline") and re.match(r"from typing import .*\bAny\b", line) and not said:
                wrong.append(f"{file.relative_to(root)}:{number + 1}")
    return wrong
