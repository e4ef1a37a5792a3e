"""Imports that wait until they are used, so that `retort --help` does not load torch.

    from rewards.lazy import lazy

    with lazy:
        import torch
        from pipeline.models import pretrained
        from eval.rollouts import collect

Editors and type checkers see plain imports. At run time each name is a stand-in that imports what it stands for when it
is first called, subscripted, iterated over, asked for an attribute, or used on the right-hand side of `isinstance`. A
stand-in cannot be a base class or stand in an `except` clause, and `is` and `==` do not see through it; import such
names plainly, or write `module.Name`, which gives the thing itself.

A missing module is therefore reported where it is first used, by the same ModuleNotFoundError that a plain import
raises.

`importlib.util.LazyLoader` was tried first. It puts the unloaded module into `sys.modules`, where transformers and
others look for torch to learn whether somebody uses it, and so load it after all.
"""

import builtins
import importlib
import threading
from collections.abc import Mapping, Sequence
from types import ModuleType, TracebackType

_NOT_YET = object()
"""What a stand-in holds until it is used; None will not do, since a module may call None by the name."""


class Lazy:
    """Stands for a module, or for what a module calls `name`."""

    # Slots, so that a stand-in has no __dict__ of its own: whoever asks for one, as pytest's monkeypatch does, means
    # that of the module.
    __slots__ = ("_found", "_place")
    _found: object
    _place: tuple[str, str]

    def __init__(self, module: str, name: str = "") -> None:
        # By object's method, here and below: setting an attribute of a stand-in sets it on what it stands for.
        object.__setattr__(self, "_place", (module, name))
        object.__setattr__(self, "_found", _NOT_YET)

    def _loaded(self) -> object:
        """What this stands for: an attribute of the module, or a module inside it."""
        # Two threads may both get here first. Python's own import lock lets one of them load the module, and both then
        # remember the same object.
        if self._found is _NOT_YET:
            module, name = self._place
            found: object = importlib.import_module(module)
            if name:
                found = found.__dict__[name] if name in found.__dict__ else _inside(found, module, name)
            object.__setattr__(self, "_found", found)
        return self._found

    def __getattr__(self, name: str) -> object:
        return getattr(self._loaded(), name)

    # Tests replace attributes of modules; the module itself has to change, not its stand-in in one file.
    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._loaded(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._loaded(), name)

    # Python looks the methods below up on the class, never through __getattr__, so each has to be written out.
    def __call__(self, *args: object, **kwargs: object) -> object:
        loaded = self._loaded()
        assert callable(loaded), f"{self!r} is no function or class"
        return loaded(*args, **kwargs)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._loaded())  # type: ignore[arg-type]

    def __getitem__(self, key: object) -> object:
        return self._loaded()[key]  # type: ignore[index]

    def __iter__(self) -> object:
        return iter(self._loaded())  # type: ignore[call-overload]

    def __repr__(self) -> str:
        # Without loading: a stand-in may be printed by a debugger or in a traceback.
        return f"<lazy {'.'.join(part for part in self._place if part)}>"


def _inside(found: object, module: str, name: str) -> object:
    """What `from module import name` gives where the module has not bound the name yet. Raises ImportError."""
    try:
        return getattr(found, name)  # libraries such as transformers make their names when they are asked for
    except AttributeError:
        inner = f"{module}.{name}"
    try:
        return importlib.import_module(inner)
    except ModuleNotFoundError as error:
        # Only where the name itself leads nowhere; a module inside that lacks something of its own says so itself.
        if error.name != inner:
            raise
        raise ImportError(f"cannot import name {name!r} from {module!r}", name=module) from error


class _Package:
    """What `from module import name` is answered with: every name it is asked for is a stand-in."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Lazy:
        return Lazy(self._module, name)


class _Lazily:
    """The block in which the imports of this thread are put off; one thread at a time is in one."""

    def __init__(self) -> None:
        # Without it two threads that import at once would take each other's hook for the plain import, and one of the
        # hooks would stay. A thread in a block waits for no other, because it imports nothing there.
        self._turn = threading.Lock()

    def __enter__(self) -> None:
        self._turn.acquire()
        self._plain, self._thread = builtins.__import__, threading.get_ident()
        builtins.__import__ = self._import

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        builtins.__import__ = self._plain
        self._turn.release()

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  (these are the names that Python passes)
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        # The hook is the whole process's; other threads have asked for nothing to be put off.
        if threading.get_ident() != self._thread:
            return self._plain(name, globals, locals, fromlist or (), level)
        assert level == 0, "relative imports are not put off"
        # `import a.b` binds `a`, whose stand-in would load `a` alone and might not find `b` in it.
        assert fromlist or "." not in name, f"write `from {name.rpartition('.')[0]} import {name.rpartition('.')[2]}`"
        stand_in: object = _Package(name) if fromlist else Lazy(name)
        return stand_in  # type: ignore[return-value]


lazy = _Lazily()
