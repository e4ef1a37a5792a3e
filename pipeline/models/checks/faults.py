"""What is wrong inside a block that a recipe hands on to transformers, told as pydantic tells what is wrong in a
field: each fault with its place."""

from collections.abc import Hashable, Iterable

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Fault = tuple[tuple[Hashable, ...], str]
"""The keys that lead to it inside the block, and what is wrong."""


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
