"""What a function takes by name."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rewards.registry import RegistryError


@dataclass(frozen=True)
class Signature:
    """`named` are the parameters that can be given by name, and whether each has a default; `anything` is True where
    any other name is taken, too."""

    shown: str
    named: Mapping[str, bool]
    by_position: tuple[str, ...]
    anything: bool
    annotations: Mapping[str, object]

    @classmethod
    def of(cls, function: object, who: str) -> "Signature":
        """Raises RegistryError, which names `who`, for what cannot be called or does not say what it takes."""
        if not callable(function):
            raise RegistryError(f"{who} is an object of {type(function).__name__} and no function")
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise RegistryError(f"{who} does not say what it takes; wrap it in a function with parameters") from error
        parameters = signature.parameters.values()
        named = {
            p.name: p.default is not p.empty for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }
        by_position = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty)
        anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
        shown = f"({', '.join(str(p).partition(':')[0].partition('=')[0].strip() for p in parameters)})"
        annotations = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
        return cls(shown, named, by_position, anything, annotations)

    def names(self, *names: str) -> bool:
        """Whether one of these is a parameter by name."""
        return any(name in self.named for name in names)

    def needed(self) -> list[str]:
        """The parameters without a default."""
        return [name for name, has_default in self.named.items() if not has_default]

    def taken(self, offered: Mapping[str, object]) -> dict[str, object]:
        """Of what is offered, what the function takes."""
        return {name: value for name, value in offered.items() if self.anything or name in self.named}

    def lacks(self, offered: Iterable[str]) -> list[str]:
        """What the function needs and is not offered."""
        return [name for name in self.needed() if name not in set(offered)]
