"""The flags of commands that say how a question is put: those of a stage's `prompt` section."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from eval.instructions import AUTO
from eval.protocol import EFFORTS, Effort, Prompting, Shot
from pipeline.contract.errors import CommandError
from pipeline.contract.prompt import AskingPrompt

Section = TypeVar("Section", bound=BaseModel)


def add(parser: argparse.ArgumentParser) -> None:
    """Make them known."""
    parser.add_argument("--system", metavar="TEXT", type=text, help="the system's turn (default: none)")
    parser.add_argument("--instruction", metavar="TEXT", type=text, default=AUTO,
                        help="how to answer, put after each question, or around it where {question} stands in it; "
                             "'' for none (default: auto, the default of the problem's verifier, for chat models)")
    parser.add_argument("--template", choices=("auto", "chat", "r1", "qa"), default="auto",
                        help="the tokenizer's chat template, R1-Zero's plain text, or 'Question: .. Answer:' "
                             "(default: chat where there is one, else r1)")
    parser.add_argument("--template-option", metavar="KEY=VALUE", action="append", default=[], type=_option,
                        help="for the chat template, such as enable_thinking=false or reasoning_effort=low; may be "
                             "given several times")
    parser.add_argument("--open-thinking", action="store_true",
                        help="begin every answer with <think>; of a server's chat template: it does so")
    parser.add_argument("--stop", nargs="+", default=[], metavar="TEXT", type=text,
                        help="texts that end an answer (default: of r1 and qa what begins a next question)")


def prompting(args: argparse.Namespace, shots: Sequence[Shot] = (), thinking_budget: int | None = None) -> Prompting:
    """What they say. Raises CommandError where a `prompt` section could not say it either."""
    return prompt(args).prompting(shots, thinking_budget)


def prompt(args: argparse.Namespace) -> AskingPrompt:
    """The `prompt` section that says the same. Raises CommandError where none could."""
    return section(
        AskingPrompt, {}, system=args.system, instruction=args.instruction, template=args.template,
        open_thinking=args.open_thinking, template_options=dict(args.template_option), stop=args.stop,
    )


def section(made: type[Section], flags: Mapping[str, str], **fields: object) -> Section:
    """A section of a stage with these fields, which flags of the same names give, or those that `flags` names. Raises
    CommandError, which names the flag, where the section does not take them."""
    try:
        return made.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        flag = f"--{flags.get(field, field).replace('_', '-')}: " if field else ""
        raise CommandError(f"{flag}{first['msg'].removeprefix('Value error, ')}") from error


def text(given: str) -> str:
    """Type of an argument that is put to a model; a path may hold any bytes, which Python writes as half characters."""
    try:
        given.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{given!r} is not in UTF-8; save the script so, or set the terminal to it") \
            from None
    return given


def efforts(text: str) -> list[Effort]:
    """Type of a flag: efforts with commas between them, each once."""
    known: dict[str, Effort] = {effort: effort for effort in EFFORTS}
    named = [name.strip() for name in text.split(",")]
    if strange := [name for name in named if name not in known]:
        raise argparse.ArgumentTypeError(f"{strange[0]!r} is no effort; give some of {', '.join(EFFORTS)} with commas "
                                         "between them")
    _require_once(named)
    return [known[name] for name in named]


def budgets(text: str) -> list[int]:
    """Type of a flag: numbers of tokens with commas between them, each once."""
    named = [name.strip() for name in text.split(",")]
    if strange := [name for name in named if not (name.isascii() and name.isdigit() and int(name))]:
        raise argparse.ArgumentTypeError(f"{strange[0]!r} is no number of tokens; give some with commas between them, "
                                         "such as 8,16,24")
    found = [int(name) for name in named]
    _require_once(found)
    return found


def _require_once(named: Sequence[object]) -> None:
    if twice := [name for place, name in enumerate(named) if name in named[:place]]:
        raise argparse.ArgumentTypeError(f"{twice[0]} is named twice")


def _option(given: str) -> tuple[str, object]:
    """KEY=VALUE, the value as JSON where it is some, else as text."""
    key, equals, value = text(given).partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{given!r} is no KEY=VALUE, such as enable_thinking=false")
    try:
        return key, json.loads(value.lower() if value.lower() in ("true", "false", "null") else value)
    except (ValueError, RecursionError):
        return key, value
