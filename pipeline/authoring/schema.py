"""recipes/schema.json: what a recipe may be as JSON Schema, by which editors complete and check it while it is typed.

Draft 7, which is what editors know. It refuses what is misspelled, of the wrong type or outside of its bounds; what
goes across fields, such as a stage that is named and not there, `retort plan` tells.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from eval.problems.registry import HOLDS
from pipeline.contract.fields import NAMES
from pipeline.contract.stage import Stage
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.recipe.header import STAGE_NAME, Header
from rewards.lazy import lazy
from rewards.rubric import Rubric
from rewards.rules import RULES

with lazy:
    import recipes

_REFERENCE = "#/$defs/"


class _Untitled(GenerateJsonSchema):
    """Without a title for each field, which would be its name once more."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def of_recipe(stages: Mapping[str, type[Stage]], kinds: Iterable[str]) -> JsonObject:
    """The schema of recipes of stages by their kind, and of plug-ins with any fields: `FILE.py:NAME`, and those of
    `kinds`, the names of stages, that are not among `stages`."""
    models: list[type[BaseModel]] = [Header, Rubric, *stages.values()]
    references, generated = models_json_schema(
        [(model, "validation") for model in models], schema_generator=_Untitled, ref_template=f"{_REFERENCE}{{model}}"
    )
    definitions: JsonObject = {name: _for_editors(part) for name, part in generated["$defs"].items()}
    names = {model: str(references[model, "validation"]["$ref"]).removeprefix(_REFERENCE) for model in models}
    definitions[names[Rubric]]["properties"]["rules"]["properties"] = dict(_rules())
    for kind, stage in stages.items():
        part = definitions[names[stage]]
        part["properties"] = {"kind": {"const": kind}, **part["properties"]}
    head = definitions.pop(names[Header])
    head["required"] = ["stages"]  # its name is the file's where it is left out
    head["properties"]["stages"] = {
        **head["properties"]["stages"],
        "propertyNames": {"pattern": f"^{STAGE_NAME}$"},
        "additionalProperties": _stage({kind: names[stage] for kind, stage in stages.items()}, kinds),
    }
    return {"$schema": "http://json-schema.org/draft-07/schema#", **head, "title": "A recipe of Retort",
            "$defs": definitions}


def shipped() -> Path:
    """The file of the schema of all that comes along."""
    return Path(next(iter(recipes.__path__))) / "schema.json"


def _stage(definitions: Mapping[str, str], kinds: Iterable[str]) -> JsonObject:
    plug_in = {"type": "string", "pattern": ":", "description": "a stage of your own: FILE.py:NAME or module:NAME"}
    kind = {"description": "what the stage does", "anyOf": [{"enum": [*kinds]}, plug_in]}
    return {
        "type": "object", "required": ["kind"], "properties": {"kind": kind},
        "allOf": [
            {"if": {"properties": {"kind": {"const": one}}, "required": ["kind"]},
             "then": {"$ref": f"{_REFERENCE}{name}"}}
            for one, name in definitions.items()
        ],
    }


def _rules() -> Iterator[tuple[str, JsonObject]]:
    """The rules that come along, each with its options."""
    for entry in RULES.entries():
        if entry.origin == "built-in":
            options: JsonObject = {"weight": {"type": "number", "default": 1.0}}
            for name, default in entry.options.items():
                options[name] = {} if default is inspect.Parameter.empty else {"default": default}
            section = {"type": "object", "properties": options, "additionalProperties": False}
            yield entry.name, {"description": entry.summary, "anyOf": [{"type": "number"}, section]}


def _for_editors(part: JsonMapping) -> JsonObject:
    """A part of a schema in draft 7's words, with what completes the names of problem sets, and without defaults that
    editors would write out whole."""
    found: JsonObject = {}
    for key, value in part.items():
        if key == "prefixItems":
            found["items"] = [_for_editors(one) for one in value]
        elif not (key == "default" and isinstance(value, Mapping)):
            found[key] = _inside(value)
    if part.get(NAMES) == "problem set":
        sets = [f"{name}:{split}" for name, splits in HOLDS.items() for split in splits]
        found["items"] = {"anyOf": [{"enum": sets}, {"type": "string"}]}
    return found


def _inside(value: object) -> object:
    if isinstance(value, Mapping):
        return _for_editors(value)
    return [_inside(one) for one in value] if isinstance(value, list) else value
