"""Modules that a zygote has loaded for one program or another, kept where no other program finds them.

What a program can import must not depend on which programs ran before it: a verdict would hang on the order of grading.
So whatever is loaded after the start lies on a shelf, outside of `sys.modules`, and a child takes from it what its own
program names and what those modules import while they are loaded. A program that names nothing pays nothing for it.
"""

import builtins
import gc
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any  # whatever is handed to __import__

from rewards.sandbox.imports import ASYNCIO, REACHING_OUT, loadable

_EVENT_LOOP = "rewards.sandbox.event_loop"


class Shelf:
    """What is loaded when it is made stays with every program; all that comes later goes on the shelf."""

    def __init__(self, *, threads: bool) -> None:
        """`threads` says whether programs may start some."""
        self._threads = threads
        _drop()
        self._always = frozenset(sys.modules)
        self._tried: set[str] = set()
        self._modules: dict[str, ModuleType] = {}
        self._attributes: set[str] = set()
        """The modules on the shelf that are attributes of their packages, too."""
        self._imports: dict[str, set[str]] = {}
        """What the body of each module imports, whether that was loaded before or not."""
        self._needed: dict[str, frozenset[str]] = {}

    def load(self, names: Iterable[str]) -> None:
        """Load those of these modules that programs may have and that were not asked for before."""
        fresh = [name for name in names if name not in self._always and name not in self._tried and loadable(name)]
        if not fresh:
            return
        self._tried.update(fresh)
        # What is there already must not be loaded a second time.
        self.take(self._modules)
        original = builtins.__import__
        builtins.__import__ = self._recording(original)
        try:
            for name in fresh:
                self._import(name)
        finally:
            builtins.__import__ = original
        self._put_away()
        gc.freeze()

    def needed(self, names: Iterable[str]) -> set[str]:
        """The modules on the shelf that a program has which names these."""
        return {module for name in names for module in self._all_of(name) if module in self._modules}

    def take(self, names: Iterable[str]) -> None:
        """Put modules of the shelf where a program finds them."""
        taken = {name: self._modules[name] for name in names}
        sys.modules.update(taken)
        for name in self._attributes.intersection(taken):
            package, _, attribute = name.rpartition(".")
            setattr(sys.modules[package], attribute, taken[name])

    def _import(self, name: str) -> None:
        try:
            importlib.import_module(name)
            if name in ASYNCIO:
                importlib.import_module(_EVENT_LOOP).install(threads=self._threads)
                self._imports.setdefault("asyncio", set()).add(_EVENT_LOOP)
        except Exception:  # not in this build of Python: the program meets the same error
            return

    def _recording(self, original: Callable[..., ModuleType]) -> Callable[..., ModuleType]:
        """`__import__`, which keeps what the bodies of modules import with it."""

        def recorded(name: str, globals: Mapping[str, Any] | None = None,  # noqa: A002
                     locals: Mapping[str, Any] | None = None, fromlist: Sequence[str] | None = (),  # noqa: A002
                     level: int = 0) -> ModuleType:
            module = original(name, globals, locals, fromlist, level)
            # What a function imports would be kept only where something calls it while it is loaded, which may depend
            # on what is there.
            if globals is not None and locals is globals:
                full = module.__name__ if level else name
                parts = {f"{full}.{part}" for part in fromlist or ()}
                self._imports.setdefault(globals["__name__"], set()).update({full}, parts.intersection(sys.modules))
            return module

        return recorded

    def _all_of(self, name: str) -> frozenset[str]:
        """A module, its packages, and all that they import, as far as not every program has it."""
        if name not in self._needed:
            found: set[str] = set()
            todo = [name]
            while todo:
                one = todo.pop()
                if not one or one in found or one in self._always:
                    continue
                found.add(one)
                todo += [one.rpartition(".")[0], *self._imports.get(one, ())]
            self._needed[name] = frozenset(found)
        return self._needed[name]

    def _put_away(self) -> None:
        _drop()
        self._modules = {name: module for name, module in sys.modules.items() if name not in self._always}
        self._attributes = set()
        for name, module in self._modules.items():
            package, _, attribute = name.rpartition(".")
            owner = vars(sys.modules[package]) if package in sys.modules else {}
            # unittest.main, for one, is a module whose package has something else of that name.
            if owner.get(attribute) is module:
                del owner[attribute]
                self._attributes.add(name)
        for name in self._modules:
            del sys.modules[name]


def _drop() -> None:
    for name in REACHING_OUT:
        sys.modules.pop(name, None)
