"""The marks on fields of a stage's config (inputs, plug-ins), and finding the marked values however deep they are."""

import dataclasses
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType

# Any: annotations are objects of many classes that Python does not export
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from pipeline.disk.durable import JsonObject
from rewards.rubric import Rubric

ArtifactType = Literal["model", "dataset", "report"]

NAMES = "names"
"""The word of a field's JSON Schema that says what its text names: a model, a problem set."""


@dataclass(frozen=True)
class Input:
    """Marks a field as an input: the name of an earlier stage, a hub id or a path of an artifact of this type."""

    type: ArtifactType

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonObject:
        return {**handler(schema), NAMES: self.type}


@dataclass(frozen=True)
class NotInFingerprint:
    """Marks a field that makes no other result, such as how often progress is logged.

    With `of_checkpoints` it says how a batch is computed and not what: results differ by rounding, and in what looks at
    one micro-batch alone. A stage that was finished with another value is used as it is; one that was not goes on
    from its checkpoint with the same value, or with another one where the runner is asked to go on inexactly.
    """

    of_checkpoints: bool = False


@dataclass(frozen=True)
class PlugIn:
    """Marks a field that names a plug-in of this registry kind; its source is part of the fingerprint."""

    kind: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonObject:
        return {**handler(schema), NAMES: self.kind}


ModelInput = Annotated[str, Input("model")]
DatasetInput = Annotated[str, Input("dataset")]
ReportInput = Annotated[str, Input("report")]


class Marked(NamedTuple):
    """A marked value and where it is: ("models", 0). For a key of a mapping `where` ends in that key."""

    mark: Input | PlugIn
    value: str
    where: tuple[Hashable, ...]


def marked(config: BaseModel) -> Iterator[Marked]:
    """Every text in `config` that an `Input` or a `PlugIn` marks, in the order of the fields."""
    yield from _of_model(config, ())


def outside_fingerprint(stage: type[BaseModel]) -> set[str]:
    """Names of the fields that make no other result."""
    return {name for name, _ in _unprinted(stage)}


def of_checkpoints(stage: type[BaseModel]) -> list[str]:
    """Names of those of them with which a checkpoint was made, sorted."""
    return sorted(name for name, mark in _unprinted(stage) if mark.of_checkpoints)


def _unprinted(stage: type[BaseModel]) -> Iterator[tuple[str, NotInFingerprint]]:
    for name, info in stage.model_fields.items():
        for mark in info.metadata:
            if mark is NotInFingerprint:  # as a plug-in may write it, without the brackets
                yield name, NotInFingerprint()
            elif isinstance(mark, NotInFingerprint):
                yield name, mark


def _of_model(config: BaseModel, where: tuple[Hashable, ...]) -> Iterator[Marked]:
    if isinstance(config, Rubric):  # lies a floor below and so cannot mark its rules itself
        yield from (Marked(PlugIn("rule"), rule, (*where, "rules", rule)) for rule in config.rules)
        return
    for name, info in type(config).model_fields.items():
        yield from _of_value(info.annotation, info.metadata, getattr(config, name), (*where, name))


def _of_value(
    annotation: Any, metadata: Iterable[object], value: object, where: tuple[Hashable, ...]
) -> Iterator[Marked]:
    if value is None:
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _of_value(arguments[0], [*metadata, *annotation.__metadata__], value, where)
        return
    # A mark on the field counts for everything in it, and what is inside is not looked at any more.
    marks = [mark for mark in metadata if isinstance(mark, Input | PlugIn)]
    for mark in marks:
        yield from (Marked(mark, text, place) for text, place in _texts(value, where))
    if marks:
        return
    if origin in (Union, UnionType):
        # Of a union the first member that the value is of, as pydantic would have chosen it.
        fitting = next((one for one in arguments if _fits(one, value)), None)
        yield from _of_value(fitting, [], value, where)
    elif isinstance(value, BaseModel):
        yield from _of_model(value, where)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value), include_extras=True)
        for field in dataclasses.fields(value):
            yield from _of_value(hints[field.name], [], getattr(value, field.name), (*where, field.name))
    elif isinstance(value, Mapping) and len(arguments) == 2:
        for key, item in value.items():
            yield from _of_value(arguments[0], [], key, (*where, key))
            yield from _of_value(arguments[1], [], item, (*where, key))
    elif isinstance(value, Sequence) and not isinstance(value, str) and arguments:
        for i, item in enumerate(value):
            yield from _of_value(arguments[0], [], item, (*where, i))


def _texts(value: object, where: tuple[Hashable, ...]) -> Iterator[tuple[str, tuple[Hashable, ...]]]:
    """A mark on a list or a mapping means each item of the list, each key of the mapping."""
    if isinstance(value, str):
        yield value, where
    elif isinstance(value, Mapping):
        yield from ((str(key), (*where, key)) for key in value)
    elif isinstance(value, Sequence):
        yield from ((str(item), (*where, i)) for i, item in enumerate(value))


def _fits(annotation: object, value: object) -> bool:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    kind = get_origin(annotation) or annotation
    if kind is Literal:
        return value in get_args(annotation)
    return isinstance(kind, type) and isinstance(value, kind)
