"""The flags of commands that say which tools a model may call: those of a stage's `tools` section."""

import argparse
from pathlib import Path

from eval.protocol import sha256_of
from eval.tools.tool import tools_of
from eval.tools.use import OBSERVATION, TURNS
from pipeline.commands import prompt_flags
from pipeline.contract.errors import CommandError
from pipeline.contract.tools import Tools, require_fitting
from pipeline.recipe.plugins import resolve_plug_in

HERE = Path()
"""Where relative paths of files and of documents start."""


def add(parser: argparse.ArgumentParser) -> None:
    """Make them known."""
    parser.add_argument("--tools", nargs="+", metavar="TOOL", default=[],
                        help="what the model may call while it answers: calculator, python, search, or functions of "
                             "your own, file.py:name (default: nothing)")
    parser.add_argument("--turns", type=int, metavar="N", help=f"calls that an answer may make (default: {TURNS})")
    parser.add_argument("--observation", type=int, metavar="TOKENS",
                        help=f"longest that a tool may say; what is longer is cut (default: {OBSERVATION})")
    parser.add_argument("--documents", metavar="FOLDER",
                        help="the folder of texts (.txt, .md) that the tool search looks in")


def tools(args: argparse.Namespace) -> Tools | None:
    """What they say. Raises CommandError where a `tools` section could not say it either."""
    others = {name: value for name in ("turns", "observation", "documents")
              if (value := getattr(args, name)) is not None}
    if not args.tools:
        if others:
            raise CommandError(f"--{next(iter(others))} is about tools, and there are none; give --tools")
        return None
    return prompt_flags.section(Tools, {"use": "tools"}, use=args.tools, **others)


def require_usable(args: argparse.Namespace) -> None:
    """Make the tools once. Raises CommandError where they do not go with the other flags, ToolError and RegistryError
    for those that no model could be given."""
    said = tools(args)
    if said is None:
        return
    try:
        require_fitting(said, prompt_flags.prompt(args), bool(args.thinking_budget or args.budgets))
    except ValueError as error:
        raise CommandError(str(error)) from error
    tools_of(said.used(HERE))


def sha256(args: argparse.Namespace) -> str | None:
    """The hash of the sources of the tools and of the documents that are looked in; None without tools."""
    said = tools(args)
    if said is None:
        return None
    named = [*(("tool", name) for name in said.use), *([("documents", said.documents)] if said.documents else [])]
    return sha256_of([resolve_plug_in(kind, name, HERE) for kind, name in named])
