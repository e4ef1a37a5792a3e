"""What is wrong with a recipe, as lines that a person can act on."""

from collections.abc import Hashable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, get_args  # pydantic types neither its complaints nor what it was given

from pydantic import BaseModel, ValidationError

from pipeline.recipe.strict_yaml import Document


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'base'?` for the nearest of `known`; all of them where they are few; else nothing."""
    names = list(known)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(names)}" if 0 < len(names) <= 16 else ""


def of_validation(error: ValidationError, model: type[BaseModel], document: Document, prefix: tuple[Hashable, ...],
                  also_known: Sequence[str] = ()) -> list[str]:
    """One line for each place that pydantic complains of.

    `prefix` leads to the model's block in the document; `also_known` are keys of that block that are not the model's.
    """
    messages: dict[tuple[Hashable, ...], list[str]] = {}
    for complaint in error.errors(include_url=False):
        where = _written(complaint["loc"], document.data, prefix, complaint["type"])
        message = _message(complaint, model, also_known)
        # pydantic complains once for each branch of a union; a person wants each sentence once.
        if message not in messages.setdefault(where, []):
            messages[where].append(message)
    return [_line(document, prefix, where, ", or ".join(texts)) for where, texts in messages.items()]


def _line(document: Document, prefix: tuple[Hashable, ...], where: tuple[Hashable, ...], message: str) -> str:
    shown = dotted((*prefix, *where))
    return f"{document.place((*prefix, *where))}: {shown + ': ' if shown else ''}{message}"


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
        known = list(owner.model_fields) if owner else []
        known += also_known if owner is model else []
        return f"there is no such field{did_you_mean(str(location[-1]), known)}"
    if problem == "missing":
        return "this field is required and is not given"
    text = " ".join(str(complaint["msg"]).split()).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = text.replace("Input should be", "should be")
    if problem == "value_error":
        return text
    near = ""
    if problem == "literal_error" and isinstance(given, str):
        choices = [part.strip(" '") for part in str(complaint["ctx"]["expected"]).replace(" or ", ", ").split(",")]
        near = did_you_mean(given, choices) if get_close_matches(given, choices, n=1, cutoff=0.5) else ""
    shown = repr(given)
    return f"{text}, not {shown if len(shown) <= 60 else shown[:57] + '...'}{near}"


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


def _models_in(annotation: object) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
