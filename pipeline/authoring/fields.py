"""What a recipe may say, as tables: every field of the top level, of a stage and of the sections in it.

All of it is read from the pydantic models by way of their JSON Schema, so that it is what a recipe is checked by.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, get_args

import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from pipeline.contract.fields import NAMES
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.recipe.header import Header

UNIT = "unit"
"""The word of a field's JSON Schema that says what its number counts."""

REQUIRED, AS_BELOW, NONE, OF_FILE = "required", "as below", "none", "the file's name"
"""What is said in the place of a default: it has to be written; those of the section's own fields; no section; the name
of the recipe's file."""

_WORDS = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}


class Field(NamedTuple):
    """One field as a person reads of it. `default` is what a recipe would hold, or one of the words below."""

    name: str
    holds: str
    default: str
    told: str
    section: str = ""
    """Of a field that has fields itself, the name of its model."""

    @property
    def in_words(self) -> bool:
        """Whether `default` is nothing that a recipe could hold."""
        return self.default in (REQUIRED, AS_BELOW, NONE, OF_FILE)


class Section(NamedTuple):
    """The fields of a model: of a stage, or of a section in one. `name` is what a recipe calls it."""

    name: str
    model: str
    fields: list[Field]


def of_recipe() -> list[Section]:
    """The fields of a recipe's top level, whose name is the file's where it is left out."""
    top, *others = sections(Header, "recipe")
    named = [field._replace(default=OF_FILE) if field.name == "name" else field for field in top.fields]
    return [top._replace(fields=named), *others]


def sections(model: type[BaseModel], name: str) -> list[Section]:
    """The fields of a model and, each once, those of the sections in it, in the order in which they are met."""
    schema = model.model_json_schema()
    definitions: JsonObject = {**schema.get("$defs", {}), model.__name__: schema}
    schemas = {title: _inlined(part, definitions) for title, part in definitions.items()}
    models = {one.__name__: one for one in _models(model)}
    found: dict[str, Section] = {}
    waiting = [(name, model.__name__)]
    while waiting:
        called, title = waiting.pop(0)
        if title in models and title not in found:
            found[title] = Section(called, title, _fields(models[title], schemas))
            waiting += [(field.name, field.section) for field in found[title].fields if field.section]
    return list(found.values())


def _inlined(part: JsonMapping, definitions: JsonMapping) -> JsonObject:
    """A schema in which what is defined elsewhere and is no section, such as an enumeration, stands in its place."""
    referred = definitions[_title(part)] if "$ref" in part else {}
    if referred and "properties" not in referred:
        part = {**referred, **{key: value for key, value in part.items() if key != "$ref"}}
    found: JsonObject = {}
    for key, value in part.items():
        if isinstance(value, Mapping):
            found[key] = _inlined(value, definitions)
        elif isinstance(value, list):
            found[key] = [_inlined(one, definitions) if isinstance(one, Mapping) else one for one in value]
        else:
            found[key] = value
    return found


def _title(part: JsonMapping) -> str:
    """The name of the definition that a schema refers to."""
    return str(part["$ref"]).rpartition("/")[2]


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    annotations: list[object] = [info.annotation for info in model.model_fields.values()]
    while annotations:
        annotation = annotations.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _models(annotation)
        annotations += get_args(annotation)


def _fields(model: type[BaseModel], schemas: JsonMapping) -> list[Field]:
    """First the fields that have to be written, then the model's own, then those that it shares with others."""
    schema = schemas[model.__name__]
    required = schema.get("required", ())
    found = []
    for name, part in schema["properties"].items():
        section = _section_of(part)
        default = REQUIRED if name in required else _default(model, name, schemas.get(section))
        holds = _holds(part) + ("; or null" if _takes_null(part) and default != "null" else "")
        found.append(Field(name, holds, default, part.get("description", ""), section))
    return sorted(found, key=lambda field: (field.default != REQUIRED, field.name not in model.__annotations__))


def _takes_null(part: JsonMapping) -> bool:
    return {"type": "null"} in part.get("anyOf", ())


def _default(model: type[BaseModel], name: str, section: JsonMapping | None) -> str:
    """What is taken where the field is left out, as a recipe would write it; of a section what differs from the
    defaults of its own fields."""
    value = model.model_fields[name].get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        inner = type(value).model_fields
        value = {key: getattr(value, key) for key, info in inner.items()
                 if getattr(value, key) != info.get_default(call_default_factory=True)}
        return _yaml(value) if value else AS_BELOW
    return NONE if section and value == [] else _yaml(value)


def _yaml(value: object) -> str:
    plain = to_jsonable_python(value, fallback=str)
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _section_of(part: JsonMapping) -> str:
    """The model of a field that has fields itself, or of which each item has; "" of others."""
    for one in [part, *part.get("anyOf", ()), part.get("items", {})]:
        if "$ref" in one:
            return _title(one)
    return ""


def _holds(part: JsonMapping) -> str:
    """What a field holds, in words: "whole number, 1 to 1,000 steps"."""
    if "anyOf" in part:
        # A unit stands beside the alternatives, of which one is a number.
        return " or ".join(
            _holds({UNIT: part[UNIT], **one} if UNIT in part else one)
            for one in part["anyOf"] if one != {"type": "null"}
        )
    if "$ref" in part:
        return "section"
    if "enum" in part or "const" in part:
        words = ", ".join(map(_yaml, part.get("enum", [part.get("const")])))
        return f"one of {words}" if "enum" in part else words
    kind = part.get("type")
    if kind in ("array", "object"):
        return _list(part) if kind == "array" else _mapping(part)
    return (f"a {part[NAMES]}" if NAMES in part else _WORDS.get(str(kind), "anything")) + _bounds(part)


def _list(part: JsonMapping) -> str:
    given = part["prefixItems"][0] if "prefixItems" in part else part.get("items", {})
    one, comma, bounds = _holds({NAMES: part[NAMES], **given} if NAMES in part else given).partition(", ")
    count = f"{part['minItems']} " if "prefixItems" in part else ""
    # Of a choice each word is told as it is written; other words have a plural.
    some = one if one.startswith("one of") else f"{one.removeprefix('a ')}s"
    words = f"list of {count}{some}{comma}{bounds}"
    if count:
        return words
    least = f", {part['minItems']} or more" if "minItems" in part else ""
    most = f", {part['maxItems']} or fewer" if "maxItems" in part else ""
    return f"{words}{least}{most}"


def _mapping(part: JsonMapping) -> str:
    values = part.get("additionalProperties")
    if not isinstance(values, Mapping) or values.get("type") == "object":
        return "mapping"
    keys = part.get("propertyNames", {}).get("enum")
    return f"mapping of {', '.join(keys) if keys else 'names'} to {_holds(values)}"


def _bounds(part: JsonMapping) -> str:
    """", 1 to 1,000 steps", ", above 0, up to 1", or "" where there are no bounds."""
    least, above = part.get("minimum"), part.get("exclusiveMinimum")
    most, below = part.get("maximum"), part.get("exclusiveMaximum")
    # A field's own bound comes beside that of its kind of number, and the narrower counts.
    if least is not None and above is not None:
        least, above = (least, None) if least > above else (None, above)
    said = [f"above {_number(above)}"] if above is not None else []
    if least is not None and most is not None:
        said = [f"{_number(least)} to {_number(most)}"]
    elif least is not None:
        said = [f"{_number(least)} or more"]
    elif most is not None:
        said += [f"up to {_number(most)}"]
    said += [f"below {_number(below)}"] if below is not None else []
    return "".join(f", {one}" for one in said) + (f" {part[UNIT]}" if said and UNIT in part else "")


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"
