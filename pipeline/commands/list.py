"""`retort list`: recipes, stages, rules, verifiers and problem sets, with what each is and where it comes from."""

import argparse
import inspect
import shutil
import textwrap
from pathlib import Path

from pipeline.contract.errors import CommandError
from pipeline.contract.stage import Stage
from pipeline.disk.durable import JsonObject
from pipeline.recipe.plugins import registry_of
from pipeline.recipe.recipe import shipped
from rewards.conventions.bind import SHAPES
from rewards.registry import RegistryError, did_you_mean

_KINDS = {"recipes": "", "stages": "stage", "rules": "rule", "verifiers": "verifier", "problems": "problem set"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", metavar="WHAT",
                        help=f"one of {', '.join(_KINDS)}; all of them where it is left out")


def main(args: argparse.Namespace) -> int:
    if args.what is not None and args.what not in _KINDS:
        raise CommandError(f"retort list: there is no list of {args.what!r}{did_you_mean(args.what, _KINDS)}")
    for what in [args.what] if args.what else _KINDS:
        print(f"{what}:")
        for line in _recipes() if what == "recipes" else _plug_ins(_KINDS[what]):
            print(f"  {line}")
    return 0


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
            options = _fields(entry.load()) if kind == "stage" else _keywords(entry.options)
        except RegistryError as error:
            lines.append(f"{name:<18} cannot be loaded: {error}")
            continue
        lines.append(f"{name:<18} {entry.summary}  [{entry.origin}]")
        width = max(shutil.get_terminal_size().columns - 2, 60)
        lines += textwrap.wrap(options, width, initial_indent=" " * 19, subsequent_indent=" " * 19)
    for prefix in registry.prefixes:
        lines += [f"{prefix}:FILE.py:NAME", f"{'':<18} {SHAPES[prefix]}  [unchanged]"]
    return lines


def _fields(stage: type[Stage]) -> str:
    return ", ".join(name if field.is_required() else f"{name}={_shown(field.get_default(call_default_factory=True))}"
                     for name, field in stage.model_fields.items())


def _keywords(options: JsonObject) -> str:
    return ", ".join(name if default is inspect.Parameter.empty else f"{name}={_shown(default)}"
                     for name, default in options.items())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
