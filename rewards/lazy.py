"""Imports that wait until they are used, so that `retort --help` does not load torch.

    from rewards.lazy import lazy

    with lazy:
        import torch
        from pipeline.models import pretrained
        from eval.rollouts import collect

Editors and type checkers see plain imports. At run time each name is a stand-in that imports what it stands for when it
is first called, read from, or asked whether something is an instance of it. Two uses are not possible: as a base class,
and in an `except` clause; import those plainly, or write `except module.Error`.

`importlib.util.LazyLoader` was tried first. It puts the unloaded module into `sys.modules`, where transformers and
others look for torch to learn whether somebody uses it, and so load it after all.
"""

import builtins
import importlib
import threading
from collections.abc import Mapping, Sequence
from types import ModuleType, TracebackType


class Lazy:
    """Stands for a module, or for what a module calls `name`."""

    def __init__(self, module: str, name: str = "") -> None:
        self.__dict__["_place"] = module, name

    def _loaded(self) -> object:
        """What this stands for: an attribute of the module, or a module inside it."""
        if "_found" not in self.__dict__:
            module, name = self.__dict__["_place"]
            found: object = importlib.import_module(module)
            if name:
                found = found.__dict__[name] if name in found.__dict__ else _inside(found, module, name)
            self.__dict__["_found"] = found
        return self.__dict__["_found"]

    def __getattr__(self, name: str) -> object:
        return getattr(self._loaded(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._loaded(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._loaded(), name)

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
        return f"<lazy {'.'.join(part for part in self.__dict__['_place'] if part)}>"


def _inside(found: object, module: str, name: str) -> object:
    try:
        return getattr(found, name)  # libraries such as transformers make their names when they are asked for
    except AttributeError:
        return importlib.import_module(f"{module}.{name}")


class _Package:
    """What `from module import name` is answered with: every name it is asked for is a stand-in."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Lazy:
        return Lazy(self._module, name)


class _Lazily:
    """The block in which the imports of this thread are put off."""

    def __enter__(self) -> None:
        self._plain, self._thread = builtins.__import__, threading.get_ident()
        builtins.__import__ = self._import

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        builtins.__import__ = self._plain

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  (these are the names that Python passes)
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if threading.get_ident() != self._thread:
            return self._plain(name, globals, locals, fromlist or (), level)
        assert level == 0, "relative imports are not put off"
        stand_in: object = _Package(name) if fromlist else Lazy(name.partition(".")[0])
        return stand_in  # type: ignore[return-value]


lazy = _Lazily()
