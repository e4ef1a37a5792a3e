"""One registry for every kind of plug-in: rules, verifiers, problem sets, stages.

A reference is one of
    format                      a built-in name, or one that `add` (the decorators) or an installed entry point gave
    my_package.rules:brevity    an attribute of an importable module
    rewards/brevity.py:brevity  a function in a file, relative to the folder of the recipe that names it

and of rules and verifiers also one of the last two behind the prefix of another library, with arguments or without:
    verl:score.py:compute_score(correct=0.5)
What the prefix means is `rewards.conventions`' to know; here it is taken off.

Files are loaded by path under a private module name. The current folder never goes on `sys.path`. Nothing is imported
to resolve or to list: only `Entry.load` and `Entry.options` run a plug-in's module.
"""

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from rewards import plugin_files
from rewards.errors import RetortError
from rewards.lazy import lazy
from rewards.plugin_files import PluginFileError

with lazy:  # a third of the time that `import rewards` takes
    from importlib.metadata import entry_points

T = TypeVar("T")


class RegistryError(RetortError, ValueError):
    """A reference names nothing, or something that cannot be loaded. The message is one line."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One plug-in that a reference led to.

    `target` is "module:attribute" or "file.py:attribute"; `file` is its source, None where there is none to read.
    `value` is set only for plug-ins that were added as objects. `prefix` and `arguments` are those of `reference`, what
    a person wrote; `bare` is it without them.
    """

    name: str
    kind: str
    origin: str
    target: str
    file: Path | None = None
    value: T | None = None
    reference: str = ""
    prefix: str = ""
    bare: str = ""
    arguments: Mapping[str, object] = field(default_factory=dict, hash=False)

    def without(self, argument: str) -> "Entry[T]":
        """The same plug-in without this one of its arguments."""
        return replace(self, arguments={name: value for name, value in self.arguments.items() if name != argument})

    def load(self) -> T:
        """The plug-in itself. Raises RegistryError in one line if its module or the name in it does not load."""
        # Added by a decorator: the object is there, and its module need not be found again.
        if self.value is not None:
            return self.value
        place, attribute = self.target.rsplit(":", 1)
        try:
            module = plugin_files.load(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        except RegistryError:
            raise
        except PluginFileError as error:
            raise RegistryError(f"{self.kind} {self.name!r}: {error}") from error
        except Exception as error:  # a plug-in's module is foreign code and may raise anything
            raise RegistryError(
                f"{self.kind} {self.name!r}: {place} does not import ({type(error).__name__}: {_line(error)})"
            ) from error
        found: Any = module
        for part in attribute.split("."):
            # dir and not getattr: a module may make attributes when it is asked, and import half a library for it.
            if part not in dir(found):
                raise RegistryError(
                    f"{self.kind} {self.name!r}: no {part!r} in {place}{did_you_mean(part, dir(found))}"
                )
            found = getattr(found, part)
        return found  # type: ignore[no-any-return]

    def source_hash(self) -> str:
        """SHA-256 of the source file, of the files beside it that it imports and of those that it says it reads (see
        `rewards.plugin_files`): editing a plug-in changes the fingerprint of what used it.

        Of what is built in it is the file's alone. Raises RegistryError where there is no source.
        """
        if self.file is None:
            raise RegistryError(f"{self.kind} {self.name!r} has no source file, so a recipe cannot depend on it")
        # A built-in stage says through its version when its result changes.
        if self.origin == "built-in" or self.file.suffix != ".py":
            return hashlib.sha256(self.file.read_bytes()).hexdigest()
        place = self.target.rsplit(":", 1)[0]
        alone = place.endswith(".py") or self.value is not None  # not found by the name of a module
        try:
            return plugin_files.source_hash(self.file, "" if alone else place)
        except PluginFileError as error:
            raise RegistryError(f"{self.kind} {self.name!r}: {error}") from error

    @cached_property
    def summary(self) -> str:
        """First line of the docstring, read from the source without importing it; "" where there is none."""
        if self.value is not None:
            return _first_line(inspect.getdoc(self.value))
        if self.file is None or self.file.suffix != ".py":
            return ""
        try:
            body: list[ast.stmt] = ast.parse(self.file.read_bytes()).body
        except (SyntaxError, ValueError, OSError):
            return ""
        doc = ""
        for part in self.target.rsplit(":", 1)[1].split("."):
            node = next((n for n in body if isinstance(n, _DOCUMENTED) and n.name == part), None)
            if node is None:
                return ""
            body, doc = node.body, _first_line(ast.get_docstring(node))
        return doc

    @cached_property
    def options(self) -> dict[str, Any]:
        """Keyword-only parameters and their defaults (`inspect.Parameter.empty` where there is none). Imports the
        plug-in."""
        loaded: Any = self.load()
        if not callable(loaded):
            return {}
        parameters = inspect.signature(loaded).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


class Registry(Generic[T]):
    """Every plug-in of one kind, found by reference. `entry_points` is the group that other distributions use,
    `prefixes` are those that a reference may have."""

    def __init__(
        self, kind: str, built_ins: Mapping[str, str], entry_points: str = "", prefixes: Sequence[str] = ()
    ) -> None:
        self.kind = kind
        self.prefixes = tuple(prefixes)
        self._built_ins = dict(built_ins)
        self._group = entry_points
        self._added: dict[str, Entry[T]] = {}
        self.folder: Path | None = None
        """Where relative file paths start when who asks names no folder; None: in the current one. The process of a
        stage sets it for what is resolved while it works."""

    def resolve(self, reference: str, *, base: Path | None = None) -> Entry[T]:
        """The entry that `reference` names; relative file paths start from `base`, or else from `self.folder`.

        Raises RegistryError in one line where the name is unknown or the file or module does not exist. The
        module itself is not run.
        """
        if not isinstance(reference, str) or not reference.strip():
            raise RegistryError(f"a {self.kind} is named by text such as {next(iter(self.names()), 'name')!r}, "
                                f"not {reference!r}")
        reference = reference.strip()
        prefix, bare, arguments = self._split(reference)
        entry = self._found(bare, base)
        # The name of a module's function alone, which is what figures of a training are called by.
        name = bare.rpartition(":")[2] if prefix else entry.name
        return replace(entry, name=name, reference=reference, prefix=prefix, bare=bare, arguments=arguments)

    def _split(self, reference: str) -> tuple[str, str, dict[str, object]]:
        """The prefix, the reference behind it, and its arguments; all of it is the reference where there is no
        prefix."""
        prefix, colon, bare = reference.partition(":")
        if not colon or prefix not in self.prefixes:
            return "", reference, {}
        call = re.fullmatch(r"(.*?)\((.*)\)", bare, re.DOTALL)
        bare, said = call.groups() if call else (bare, "")
        if ":" not in bare:
            raise RegistryError(f"{self.kind} {reference!r}: write {prefix}:module:name or "
                                f"{prefix}:path/to/file.py:name")
        return prefix, bare, _arguments(said, f"{self.kind} {reference!r}")

    def _found(self, reference: str, base: Path | None) -> Entry[T]:
        place, colon, attribute = reference.rpartition(":")
        if not colon:
            return self._named(reference)
        if not place or not all(part.isidentifier() for part in attribute.split(".")):
            raise RegistryError(f"{self.kind} {reference!r}: write module:name or path/to/file.py:name")
        if place.endswith(".py"):
            file = Path(place).expanduser()
            file = file if file.is_absolute() else (base or self.folder or Path.cwd()) / file
            if not file.is_file():
                self._refuse_prefix(reference)
                raise RegistryError(f"{self.kind} {reference!r}: there is no file {file}")
            file = file.resolve()
            # A name with a typo is told at once, without running anything of the file.
            _check_defined(self.kind, reference, file, attribute)
            return Entry(attribute, self.kind, str(file), f"{file}:{attribute}", file)
        self._refuse_prefix(reference)
        return Entry(reference, self.kind, place, reference, _file_of_module(self.kind, reference, place))

    def _refuse_prefix(self, reference: str) -> None:
        """Raises RegistryError for what leads nowhere and begins like a prefix that there is not."""
        first, _, rest = reference.partition(":")
        if ":" in rest:
            hint = did_you_mean(first, self.prefixes) if self.prefixes else f"; a {self.kind} has none"
            raise RegistryError(f"{self.kind} {reference!r}: there is no prefix {first!r}{hint}")

    def add(self, value: T, *, name: str = "") -> T:
        """Register an object of this process under its own name (or `name`); what the decorators call.

        Raises RegistryError where a built-in or an object of another file has the name.
        """
        loaded: Any = value
        name = name or loaded.__name__
        file = inspect.getsourcefile(loaded) if callable(loaded) else None
        path = Path(file).resolve() if file and Path(file).is_file() else None
        known = self._added.get(name)
        # A plug-in may decorate what is also a built-in here, or be loaded twice from one file; both are harmless.
        if known is not None and known.file != path:
            raise RegistryError(f"two {self.kind}s are called {name!r}: one in {known.file}, one in {path}")
        if name in self._built_ins:
            # A decorated built-in registers itself when its module is imported.
            if self._built_ins[name] == f"{loaded.__module__}:{loaded.__qualname__}":
                return value
            raise RegistryError(f"{name!r} is a built-in {self.kind}; call yours something else")
        target = f"{loaded.__module__}:{loaded.__qualname__}"
        self._added[name] = Entry(name, self.kind, str(path or loaded.__module__), target, path, value)
        return value

    def names(self) -> list[str]:
        """Every name that needs no module or file to be given, sorted."""
        return sorted({*self._built_ins, *self._added, *self._installed()})

    def entries(self) -> list[Entry[T]]:
        """Every named plug-in, sorted by name. No plug-in is imported."""
        return [self._named(name) for name in self.names()]

    def __contains__(self, reference: object) -> bool:
        return isinstance(reference, str) and reference in self.names()

    def _named(self, name: str) -> Entry[T]:
        if name in self._built_ins:
            target = self._built_ins[name]
            place = target.split(":")[0]
            return Entry(name, self.kind, "built-in", target, _file_of_module(self.kind, name, place))
        if name in self._added:
            return self._added[name]
        installed = self._installed()
        if name in installed:
            target, distribution = installed[name]
            place = target.split(":")[0]
            return Entry(name, self.kind, f"entry point of {distribution}", target,
                         _file_of_module(self.kind, name, place))
        raise RegistryError(f"there is no {self.kind} called {name!r}{did_you_mean(name, self.names())}")

    def _installed(self) -> dict[str, tuple[str, str]]:
        if not self._group:
            return {}
        found = _entry_points(self._group)
        # What is installed cannot take the place of what is built in.
        return {name: where for name, where in found.items() if name not in self._built_ins}


_DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_groups: dict[str, dict[str, tuple[str, str]]] = {}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'format'?` for the nearest of `known`, else `; there are a, b, c` (for a short list), else ""."""
    names = [name for name in known if not name.startswith("_")]
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(names)}" if 0 < len(names) <= 16 else ""


def _entry_points(group: str) -> dict[str, tuple[str, str]]:
    """name -> (target, distribution) of a group of entry points."""
    # Remembered: to find them the metadata of every installed distribution is read.
    if group not in _groups:
        _groups[group] = {
            point.name: (
                point.value.split("[")[0].strip(), point.dist.name if point.dist else "an unknown distribution"
            )
            for point in entry_points(group=group)
        }
    return _groups[group]


def _file_of_module(kind: str, reference: str, module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise RegistryError(f"{kind} {reference!r}: module {module!r} does not import ({_line(error)})") from error
    if spec is None:
        raise RegistryError(f"{kind} {reference!r}: there is no module {module!r}; "
                            "for a file write path/to/file.py:name")
    return Path(spec.origin) if spec.origin and spec.has_location else None


def _check_defined(kind: str, reference: str, file: Path, attribute: str) -> None:
    """Refuse a name that the file plainly does not define, before anything is run."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise RegistryError(f"{kind} {reference!r}: {file} is not Python ({_line(error)})") from error
    names = [node.name for node in tree.body if isinstance(node, _DOCUMENTED)]
    # Assignments are looked for at every depth, in `if` and `try` too: better to let a name pass than to refuse one.
    bound = {n.id for node in ast.walk(tree) if isinstance(node, ast.Assign) for t in node.targets
             for n in ast.walk(t) if isinstance(n, ast.Name)}
    bound |= {n.target.id for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, _DOCUMENTED)}
    imported = {(a.asname or a.name) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
                for a in node.names}
    first = attribute.split(".")[0]
    # What `from words import *` brings is known only when it is run.
    if first not in {*names, *bound, *imported} and "*" not in imported:
        raise RegistryError(f"{kind} {reference!r}: no {first!r} in {file}{did_you_mean(first, names)}")


def _arguments(said: str, who: str) -> dict[str, object]:
    """`correct=0.5, conversational=true` as a mapping. Raises RegistryError, which names `who`."""
    wrong = RegistryError(f"{who}: its arguments are written as (correct=0.5, conversational=true)")
    try:
        call = ast.parse(f"f({said})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise wrong from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise wrong
    found: dict[str, object] = {}
    for keyword in call.keywords:
        if keyword.arg is None:  # **others
            raise wrong
        value = keyword.value
        try:
            # As YAML and JSON write them; other words are text.
            named = _WORDS.get(value.id, value.id) if isinstance(value, ast.Name) else ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError) as error:
            raise wrong from error
        found[keyword.arg] = named
    return found


_WORDS = {"true": True, "false": False, "null": None}


def _first_line(doc: str | None) -> str:
    return doc.strip().splitlines()[0].strip() if doc and doc.strip() else ""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
