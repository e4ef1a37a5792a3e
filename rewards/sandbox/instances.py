"""Instances of classes that both children of a data set's tests define, such as the nodes of lists and trees.

["instances", ["Node", ["value", 1], ["next", ["object", 1]]], ["Node", ["value", 2], ["next", null]]] is the first of
these, and what is reached from it: each has the name of its class and its attributes. The other side makes instances of
its own class of that name.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rewards.sandbox.outcomes import quoted
from rewards.sandbox.values import decoded, encoded


class Instances:
    """Those of the classes with these names in a namespace."""

    def __init__(self, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
        self._namespace = namespace
        self._names = frozenset(names)

    def __contains__(self, value: object) -> bool:
        name = type(value).__name__
        return name in self._names and self._namespace.get(name) is type(value)

    def encoded(self, first: object) -> str:
        """JSON text. Raises TypeError where one of them holds what is neither plain nor one of them."""
        found = [first]
        place = {id(first): 0}

        def keep(value: object) -> str:
            if value not in self:
                raise TypeError(f"a value of type {type(value).__name__} is not plain data")
            if id(value) not in place:
                place[id(value)] = len(found)
                found.append(value)
            return f'["object",{place[id(value)]}]'

        written = []
        for one in found:  # which grows meanwhile: a list of thousands of nodes is no deep recursion
            pairs = [f"[{quoted(name)},{encoded(value, keep)}]" for name, value in vars(one).items()]
            written.append(f"[{','.join([quoted(type(one).__name__), *pairs])}]")
        return f'["instances",{",".join(written)}]'

    def decoded(self, written: list[Any]) -> object:
        """The first of the instances. Raises ValueError, TypeError or LookupError on anything that `encoded` does not
        write."""
        made: list[object] = []
        for name, *_ in written:
            kind = self._namespace[name] if name in self._names else None
            if not isinstance(kind, type):
                raise LookupError(f"there is no class {name}")
            made.append(object.__new__(kind))

        def known(tag: str, rest: list[Any]) -> object:
            # A class can be called, and would answer in the place of a method.
            if tag != "object" or type(rest[0]) is not int:
                raise ValueError(f"{tag} is nothing that an instance holds")
            return made[rest[0]]

        for one, (_, *pairs) in zip(made, written, strict=True):
            for name, value in pairs:
                # An attribute in the place of a method would let a program say what the tests' own code says.
                if name.startswith("__") or callable(getattr(type(one), name, None)):
                    raise ValueError(f"{name} is no attribute")
                object.__setattr__(one, name, decoded(value, known))
        return made[0]
