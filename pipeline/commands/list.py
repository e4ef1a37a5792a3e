"""`retort list`: recipes, stages, rules, verifiers and problem sets, with what each is and where it comes from; the
fields of recipes and stages; and their JSON Schema."""

import argparse
import inspect
import json
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

from pydantic.errors import PydanticUserError

from pipeline.authoring import fields, markdown, schema
from pipeline.authoring.fields import Section
from pipeline.contract.errors import CommandError
from pipeline.contract.stage import Stage
from pipeline.disk.durable import JsonObject
from pipeline.recipe.plugins import registry_of
from pipeline.recipe.recipe import shipped
from rewards.conventions.bind import SHAPES
from rewards.registry import RegistryError, did_you_mean

_KINDS = {"recipes": "", "stages": "stage", "rules": "rule", "verifiers": "verifier", "problems": "problem set",
          "tools": "tool"}


_RECIPE, _SCHEMA = "recipe", "schema"
WORDS = (*_KINDS, _RECIPE, _SCHEMA)
"""What can be listed."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", metavar="WHAT",
                        help=f"one of {', '.join(_KINDS)} (all of them where it is left out); {_RECIPE}: the fields of "
                             f"a recipe's top level; {_SCHEMA}: the JSON Schema of recipes, for editors")
    parser.add_argument("kind", nargs="?", metavar="KIND",
                        help="with stages: every field of one, such as grpo or my_stage.py:MyStage")
    parser.add_argument("--markdown", action="store_true",
                        help="with stages: every field of a recipe and of the stages that come along, as Markdown")


def main(args: argparse.Namespace) -> int:
    if args.what not in (None, *WORDS):
        raise CommandError(f"retort list: there is no list of {args.what!r}{did_you_mean(args.what, WORDS)}")
    if args.what != "stages" and (args.kind or args.markdown):
        raise CommandError("retort list: KIND and --markdown are for stages, as in retort list stages grpo")
    if args.kind and args.markdown:
        raise CommandError("retort list: --markdown is of all stages; leave it out, or KIND")
    if args.what == _RECIPE:
        _print_fields(fields.of_recipe())
    elif args.what == _SCHEMA:
        print(json.dumps(schema.of_recipe(_stages(), registry_of("stage").names()), indent=1))
    elif args.markdown:
        print(markdown.of_stages(_stages()), end="")
    elif args.kind:
        _print_stage(args.kind)
    else:
        _print_names(args.what)
    return 0


def _print_names(what: str | None) -> None:
    for one in [what] if what else _KINDS:
        print(f"{one}:")
        for line in _recipes() if one == "recipes" else _plug_ins(_KINDS[one]):
            print(f"  {line}")


def _stages() -> dict[str, type[Stage]]:
    """The stages that come along, by kind."""
    return {entry.name: entry.load() for entry in registry_of("stage").entries() if entry.origin == "built-in"}


def _print_stage(kind: str) -> None:
    entry = registry_of("stage").resolve(kind)
    stage = entry.load()
    if not (isinstance(stage, type) and issubclass(stage, Stage)):
        raise CommandError(f"retort list: {kind!r} is not a stage")
    try:
        found = fields.sections(stage, kind)
    except PydanticUserError as error:
        raise CommandError(f"retort list: {kind} has a field that no recipe can hold ({error.code})") from error
    print(f"{kind}: {entry.summary or 'a stage'}  [makes a {stage.makes}]\n")
    _print_fields(found)


def _print_fields(found: list[Section]) -> None:
    for number, section in enumerate(found):
        if number:
            print(f"\n{section.name}:")
        for line in _fields_of(section):
            print(f"  {line}")


def _fields_of(section: Section) -> Iterator[str]:
    for field in section.fields:
        default = field.default if field.in_words else f"default {field.default}"
        # wrapped behind the name, which would have its blanks taken as any others
        first, *others = _wrapped(f"{field.holds}; {default}", " " * 25)
        yield from (f"{field.name:<24} {first.strip()}", *others, *_wrapped(field.told, " " * 25))


def _wrapped(text: str, indent: str) -> list[str]:
    width = max(shutil.get_terminal_size().columns - 2, 60)
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)


def _recipes() -> list[str]:
    return [f"{name:<18} {_first_comment(file)}".rstrip() for name, file in shipped().items()]


def _first_comment(file: Path) -> str:
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _plug_ins(kind: str) -> list[str]:
    registry, lines = registry_of(kind), []
    for name in registry.names():
        try:
            entry = registry.resolve(name)
            options = _fields_told(entry.load(), name) if kind == "stage" else _keywords(entry.options)
        except RegistryError as error:
            lines.append(f"{name:<18} cannot be loaded: {error}")
            continue
        lines.append(f"{name:<18} {entry.summary}  [{entry.origin}]")
        lines += _wrapped(options, " " * 19)
    for prefix in registry.prefixes:
        lines += [f"{prefix}:FILE.py:NAME", f"{'':<18} {SHAPES[prefix]}  [unchanged]"]
    return lines


def _fields_told(stage: type[Stage], kind: str) -> str:
    needed = [name for name, field in stage.model_fields.items() if field.is_required()]
    count = len(stage.model_fields)
    return f"needs {', '.join(needed) or 'nothing'}; retort list stages {kind} tells all {count} fields"


def _keywords(options: JsonObject) -> str:
    return ", ".join(name if default is inspect.Parameter.empty else f"{name}={_shown(default)}"
                     for name, default in options.items())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
