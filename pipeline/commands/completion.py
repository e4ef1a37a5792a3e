"""`retort completion`: the script by which bash and zsh complete commands, options and names of what comes along."""

import argparse
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.authoring.templates import TEMPLATES
from pipeline.commands import cli
from pipeline.commands import list as list_command
from pipeline.recipe.plugins import registry_of
from pipeline.recipe.recipe import shipped
from rewards.lazy import lazy

with lazy:
    import shtab

_SHELLS = ("bash", "zsh")

_RECIPES = {"bash": "_retort_recipes", "zsh": "_retort_recipes"}
"""Functions of the shells that complete a shipped recipe, or a file."""

_PREAMBLE = {
    "bash": '_retort_recipes() {{ compgen -W "{names}" -- "$1"; compgen -f -- "$1"; }}',
    "zsh": "_retort_recipes() {{ compadd {names}; _files }}",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the script by which a shell completes retort. For bash: retort completion bash > "
        "~/.local/share/bash-completion/completions/retort; for zsh: retort completion zsh > _retort, in a folder of "
        "$fpath."
    )
    parser.add_argument("shell", choices=_SHELLS, help="the shell")


def main(args: argparse.Namespace) -> int:
    preamble = _PREAMBLE[args.shell].format(names=" ".join(shipped()))
    print(shtab.complete(_parser(), shell=args.shell, preamble=preamble))
    return 0


def _parser() -> argparse.ArgumentParser:
    """All commands in one parser, which runs nothing."""
    parser = argparse.ArgumentParser(prog="retort")
    commands = parser.add_subparsers()
    known = dict(_known())
    for name, summary in cli.SUMMARIES.items():
        module = importlib.import_module(f"pipeline.commands.{name.replace('-', '_')}")
        command = commands.add_parser(name, help=summary, description=summary)
        module.configure(command)
        command.description = summary  # what some say of themselves is too long for a menu
        for action in command._actions:  # argparse has no public list of them
            if (name, action.dest) in known:
                action.choices = known[name, action.dest]
            elif how := _completed(action):
                action.complete = how  # type: ignore[attr-defined]  # shtab's own
    return parser


def _known() -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Words that an argument of a command may be, where the command itself leaves it open, to say what is near."""
    yield ("new", "what"), list(TEMPLATES)
    yield ("list", "what"), list(list_command.WORDS)
    yield ("list", "kind"), registry_of("stage").names()


def _completed(action: argparse.Action) -> Mapping[str, object] | None:
    """How shtab is told to complete an argument: a recipe, a folder or a file; None where it is neither."""
    if action.dest == "recipe":
        return _RECIPES
    if action.dest in ("run", "runs", "folder"):
        return shtab.DIRECTORY
    return shtab.FILE if action.type is Path else None
