"""What is wrong with a recipe, as lines that a person can act on."""

import json
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args  # pydantic types neither its complaints nor what it was given

from pydantic import BaseModel, ValidationError

from pipeline.recipe.strict_yaml import Document, Where
from rewards.registry import did_you_mean

Complaint = tuple[Where, str]
"""The keys that lead to what is wrong in the document, and what is wrong with it."""

LARGEST = 2**63
"""No field takes more, and what is beyond fits no integer of the libraries below."""


def of_validation(error: ValidationError, model: type[BaseModel], document: Document, prefix: Where,
                  also_known: Sequence[str] = ()) -> list[Complaint]:
    """One for each place that pydantic complains of.

    `prefix` leads to the model's block in the document; `also_known` are keys of that block that are not the model's.
    """
    messages: dict[Where, list[str]] = {}
    for complaint in error.errors(include_url=False):
        where = _written(complaint["loc"], document.data, prefix, complaint["type"])
        message = _message(complaint, model, also_known)
        # pydantic complains once for each branch of a union; a person wants each sentence once.
        if message not in messages.setdefault((*prefix, *where), []):
            messages[*prefix, *where].append(message)
    return [(where, ", or ".join(texts)) for where, texts in messages.items()]


def of_numbers(written: object, where: Where = ()) -> Iterator[Complaint]:
    """Numbers that no field of any stage can take: those that are not finite, and whole ones beyond 64 bits."""
    if isinstance(written, Mapping):
        for key, value in written.items():
            yield from of_numbers(value, (*where, key))
    elif isinstance(written, list):
        for place, value in enumerate(written):
            yield from of_numbers(value, (*where, place))
    elif isinstance(written, float) and not math.isfinite(written):
        yield where, f"is {written}, and has to be a finite number"
    elif isinstance(written, int) and abs(written) >= LARGEST:
        yield where, "is a whole number of more than 64 bits; write a smaller one"


def of_types(written: object, read: object, where: Where = ()) -> Iterator[Complaint]:
    """Places where pydantic took one type for another: `true` for 1, and text in quotes for a number.

    Held against each other are what was written and the value that it was read as, so that this holds for every model,
    those of plug-ins too.
    """
    if isinstance(written, Mapping):
        for key, value in written.items():
            if isinstance(read, BaseModel) and key in type(read).model_fields:
                yield from of_types(value, getattr(read, key), (*where, key))
            elif isinstance(read, Mapping) and key in read:
                yield from of_types(value, read[key], (*where, key))
    elif isinstance(written, list) and isinstance(read, Sequence) and len(written) == len(read):
        for place, (value, one) in enumerate(zip(written, read, strict=True)):
            yield from of_types(value, one, (*where, place))
    elif isinstance(read, int | float) and not isinstance(read, bool) and isinstance(written, bool | str):
        text = f"the text {shown_value(written)}; write it without quotes"
        yield where, f"should be a number, not {text if isinstance(written, str) else str(written).lower()}"
    elif isinstance(read, bool) and isinstance(written, int | float) and not isinstance(written, bool):
        yield where, f"should be true or false, not {written}"


def dotted(where: Iterable[Hashable]) -> str:
    """("stages", "zero", "steps") -> "zero.steps", as `--set` wants it."""
    parts = [str(part) for part in where]
    return ".".join(parts[1:] if len(parts) > 1 and parts[0] == "stages" else parts)


def _written(location: Sequence[Hashable], data: Any, prefix: Sequence[Hashable], problem: str) -> tuple[Hashable, ...]:
    """The part of pydantic's location that the document has; the rest names branches of a union."""
    for part in prefix:
        data = data[part]
    written: list[Hashable] = []
    for part in location:
        if isinstance(data, dict) and str(part) in data:
            written.append(str(part))
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            written.append(part)
            data = data[part]
        elif isinstance(data, dict) and problem == "missing" and part == location[-1]:
            written.append(part)
    return tuple(written)


def _message(complaint: Any, model: type[BaseModel], also_known: Sequence[str]) -> str:
    location, problem, given = complaint["loc"], complaint["type"], complaint["input"]
    if problem == "extra_forbidden":
        owner = _model_at(model, location[:-1])
        if owner and (section := _section_with(owner, str(location[-1]))):
            return f"this field is part of the section {section}: write `{section}: {{{location[-1]}: ..}}`"
        known = list(owner.model_fields) if owner else []
        known += also_known if owner is model else []
        return f"there is no such field{did_you_mean(str(location[-1]), known)}"
    if problem == "missing":
        return "this field is required and is not given"
    if (shape := _shape(problem, given)) is not None:
        return shape
    text = " ".join(str(complaint["msg"]).split()).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = text.replace("Input should be", "should be")
    # A validator's own sentence says all there is to say.
    if problem in ("value_error", "recipe_error"):
        return text
    near = ""
    if problem == "literal_error" and isinstance(given, str):
        choices = [part.strip(" '") for part in str(complaint["ctx"]["expected"]).replace(" or ", ", ").split(",")]
        near = did_you_mean(given, choices) if get_close_matches(given, choices, n=1, cutoff=0.5) else ""
    return f"{text}, not {shown_value(given)}{near}"


def shown_value(value: object) -> str:
    """A value as Python writes it, cut where it is long; null, true and false as YAML does."""
    shown = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _shape(problem: str, given: object) -> str | None:
    """What is wrong where a block, a list and a single value were taken for each other; None where they were not."""
    if problem in ("dict_type", "model_type"):
        if isinstance(given, list):
            return "should be a block of `name: value` lines, not a list; write them without the dashes"
        return f"should be a block of `name: value` lines, not {shown_value(given)}"
    if problem == "list_type":
        hint = f"; write [{given}]" if isinstance(given, str | int | float) and len(str(given)) <= 40 else ""
        return f"should be a list, not {shown_value(given)}{hint}"
    return None


def _model_at(model: type[BaseModel], location: Sequence[Hashable]) -> type[BaseModel] | None:
    """The model that a location inside `model` leads to, through lists, mappings and unions."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            inner = list(_models_in(model.model_fields[part].annotation))
            # Of a union of models nobody can say which one was meant.
            if len(inner) != 1:
                return None
            model = inner[0]
    return model


def _section_with(owner: type[BaseModel], name: str) -> str | None:
    """The field of a model whose own fields hold one of this name; None where there is none or several."""
    found = [field for field, info in owner.model_fields.items()
             for inner in _models_in(info.annotation) if name in inner.model_fields]
    return found[0] if len(found) == 1 else None


def _models_in(annotation: object) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
