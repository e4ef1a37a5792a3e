"""What is wrong inside a block that a recipe hands on to transformers, told as pydantic tells what is wrong in a
field: each fault with its place."""

from collections.abc import Hashable, Iterable, Sequence
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Fault = tuple[tuple[Hashable, ...], str]
"""The keys that lead to it inside the block, and what is wrong."""


def did_you_mean(word: object, known: Sequence[str]) -> str:
    """`; did you mean 'yarn'?` for the nearest of `known`; all of them where they are few; else nothing."""
    near = get_close_matches(str(word), known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(known)}" if 0 < len(known) <= 16 else ""


def raise_faults(title: str, faults: Iterable[Fault]) -> None:
    """Raises pydantic's ValidationError, which a validator of a field may raise, with all of `faults`."""
    details = [
        InitErrorDetails(
            # As an argument and not as the template, in which a brace would mean something.
            type=PydanticCustomError("recipe_error", "{said}", {"said": said}),
            loc=tuple(part if isinstance(part, int) else str(part) for part in where), input=None,
        )
        for where, said in faults
    ]
    if details:
        raise ValidationError.from_exception_data(title, details)
