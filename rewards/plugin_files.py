"""Plug-ins given as files: what they import that lies beside them, what they read, and loading them.

A plug-in's folder never goes on `sys.path`, where a file in it could hide a library from everyone. Instead the files of
a folder are modules of a package that is made up for it, and an import of a neighbour is compiled as one from there.
"""

import ast
import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType

from rewards.errors import RetortError
from rewards.foreign import LOADING, calling

READS = "READS"
"""The name under which a plug-in says which files it reads: `READS = ["words.txt"]`, relative to its own."""

_PREFIX = "_retort_plugin_"
# Ours are always the installed ones, also for plug-ins that lie in a checkout.
_NEVER_NEIGHBOURS = frozenset({*sys.stdlib_module_names, "rewards", "eval", "pipeline", "recipes"})


class PluginFileError(RetortError, ValueError):
    """A plug-in's file cannot be used. The message is one line."""


def sources(file: Path, module: str = "") -> list[Path]:
    """The file, the neighbours that it imports, those that they import, and what all of them say that they read.

    `module` is the file's name as a module, where it has one: then its neighbours are those of its own package. The
    file comes first and the others in order of their paths. Nothing is run. Raises PluginFileError for a file that is
    not Python, and for one in READS that is not there.
    """
    package = module.partition(".")[0]
    root = _root_of(file, module) if package else file.parent
    found, waiting, read = {file}, [file], set[Path]()
    while waiting:
        source = waiting.pop()
        tree = _parsed(source)
        read |= set(_reads(tree, source))
        new = {path for path in _neighbours(tree, source, root, package) if path not in found}
        found |= new
        waiting += new
    return [file, *sorted((found | read) - {file})]


def source_hash(file: Path, module: str = "") -> str:
    """SHA-256 of everything in `sources`: of the file alone where it has no neighbours and reads nothing."""
    files = sources(file, module)
    if len(files) == 1:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    total = hashlib.sha256()
    for source in files:
        name = Path(os.path.relpath(source, file.parent)).as_posix()
        total.update(f"{name}\0{hashlib.sha256(source.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest()


class UntrustedError(PluginFileError):
    """A plug-in's file was not run, since who loads it said that it may not be."""


_gates: list[Callable[[Path], bool]] = []
_run: set[Path] = set()


@contextlib.contextmanager
def running_only(may_run: Callable[[Path], bool]) -> Iterator[None]:
    """While this lasts no file is run of which `may_run` says no."""
    _gates.append(may_run)
    try:
        yield
    finally:
        _gates.remove(may_run)


def run_so_far() -> set[Path]:
    """The files that were loaded in this process, without their neighbours."""
    return set(_run)


def load(file: Path) -> ModuleType:
    """The module of a plug-in's file. An edited file, or one with an edited neighbour, is another module. Raises
    UntrustedError, PluginFileError, and whatever the file raises."""
    if not all(may_run(file) for may_run in _gates):
        raise UntrustedError(f"{file} is code that no run of yours has used; read it, then `retort plan --trust` or "
                             "`retort run` its recipe")
    _run.add(file)
    if "." in file.stem:
        raise PluginFileError(f"{file}: the name of a Python file has no dot but the one before py")
    # The content is part of the name, so that a second load of the same files is the first.
    mark = hashlib.sha256(f"{file}\0{source_hash(file)}".encode()).hexdigest()[:12]
    package = f"{_PREFIX}{file.stem}_{mark}"
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    if package not in sys.modules:
        made = ModuleType(package)
        made.__path__ = [str(file.parent)]
        sys.modules[package] = made
    with calling(f"importing {file}", LOADING):
        return importlib.import_module(f"{package}.{file.stem}")


class _Finder:
    """Finds the modules of plug-ins' packages, and nothing else."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith(_PREFIX) or path is None:
            return None
        file = _module_file(Path(path[0]), name.rpartition(".")[2])
        if file is None:
            return None
        inside = [str(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, file, loader=_Loader(name, str(file)), submodule_search_locations=inside
        )


_FINDER = _Finder()


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles imports of neighbours as imports from the made-up package."""

    def get_code(self, fullname: str) -> CodeType:
        # Always anew: a .pyc file would be taken for that of the plain module, and would lie in the user's folder.
        file = Path(self.path)
        package, *way = fullname.split(".")
        # One package further up for each part of the way; the first dot of an import means a package's own.
        up = len(way) if file.name == "__init__.py" else len(way) - 1
        tree = _Relative(file.parents[up], up + 1, package).visit(_parsed(file))
        return compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)


class _Relative(ast.NodeTransformer):
    """`import words` -> `from . import words`, `from words import known` -> `from .words import known`."""

    def __init__(self, root: Path, level: int, package: str) -> None:
        self.root, self.level, self.package = root, level, package

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.level == 0 and node.module and _is_neighbour(self.root, node.module):
            return ast.copy_location(ast.ImportFrom(node.module, node.names, self.level), node)
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        return [statement for name in node.names for statement in self._import(name, node)]

    def _import(self, name: ast.alias, node: ast.Import) -> list[ast.stmt]:
        if not _is_neighbour(self.root, name.name):
            return [ast.copy_location(ast.Import([name]), node)]
        above, _, last = name.name.rpartition(".")
        if name.asname or not above:
            statement = ast.ImportFrom(above or None, [ast.alias(last, name.asname)], self.level)
            return [ast.copy_location(statement, node)]
        # `import pack.part` binds `pack`, and sees to it that `pack.part` is there.
        first = name.name.partition(".")[0]
        inner = ast.parse(f"__import__('importlib').import_module('{self.package}.{name.name}')").body[0]
        outer = ast.ImportFrom(None, [ast.alias(first)], self.level)
        return [ast.copy_location(inner, node), ast.copy_location(outer, node)]


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        raise PluginFileError(f"{file} is not Python ({' '.join(str(error).split())})") from error


def _root_of(file: Path, module: str) -> Path:
    """The folder in which the first part of a module's name is found."""
    return file.parents[module.count(".") + (1 if file.name == "__init__.py" else 0)]


def _is_neighbour(root: Path, module: str) -> bool:
    """Whether a module is imported from the made-up package, and not from where everyone has it."""
    first = module.partition(".")[0]
    file = None if first in _NEVER_NEIGHBOURS else _module_file(root, first)
    if file is None:
        return False
    # A package that is developed in this folder and installed from it is one module, not two.
    spec = importlib.util.find_spec(first)
    return spec is None or spec.origin is None or Path(spec.origin).resolve() != file.resolve()


def _module_file(folder: Path, name: str) -> Path | None:
    """The file of a module in a folder: a package comes before a module of the same name, as Python has it."""
    for file in (folder / name / "__init__.py", folder / f"{name}.py"):
        if file.is_file():
            return file
    return None


def _neighbours(tree: ast.Module, file: Path, root: Path, package: str) -> Iterator[Path]:
    """Files beside a module that it imports, at the top or inside of functions; with a package, files of it alone."""
    for node in ast.walk(tree):
        ways: list[tuple[Path, list[str]]] = []
        if isinstance(node, ast.Import):
            ways = [(root, name.name.split(".")) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = file.parents[node.level - 1] if node.level else root
            module = node.module.split(".") if node.module else []
            # What is imported may be a module itself.
            ways = [(start, module), *((start, [*module, name.name]) for name in node.names)]
        for start, way in ways:
            if start != root or (way and (way[0] == package if package else way[0] not in _NEVER_NEIGHBOURS)):
                yield from _files_on_the_way(start, way)


def _files_on_the_way(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        file = _module_file(folder, name)
        if file is None:
            return
        yield file
        folder = folder / name


def _reads(tree: ast.Module, file: Path) -> Iterator[Path]:
    for node in _own_statements(tree):
        value = _said(node)
        if value is None:
            continue
        try:
            # What is put together, or only sometimes said, is known when it is run, and nothing is run for this.
            names = ast.literal_eval(value) if node in tree.body and not isinstance(node, ast.AugAssign) else None
        except ValueError:
            names = None
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise PluginFileError(f"{file}:{node.lineno}: {READS} is a list of file names in quotes, said once and at "
                                  "the top")
        for name in names:
            read = file.parent / name
            if not read.is_file():
                raise PluginFileError(f"{file}:{node.lineno}: {READS} names {name!r}, and there is no such file")
            yield read


def _own_statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module, those in `if` and `try` too, without those of its functions and classes, whose names
    are their own."""
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)


def _said(node: ast.stmt) -> ast.expr | None:
    """What a statement gives READS, in whichever way; None where it gives it nothing."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    else:
        return None
    named = any(isinstance(one, ast.Name) and one.id == READS for target in targets for one in ast.walk(target))
    return node.value if named else None
