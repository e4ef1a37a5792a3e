"""`retort run`: run a recipe, or go on with a run that was stopped."""

import argparse
import os
import platform
import shlex
import warnings
from pathlib import Path

from pipeline.contract.errors import CommandError, RunError
from pipeline.disk.locks import Held, describe
from pipeline.recipe import fingerprint, recipe, trust
from pipeline.recipe.header import is_name
from pipeline.recipe.recipe import Recipe
from pipeline.run.display.choice import Asked, display
from pipeline.run.runner import Runner
from pipeline.run.versions import PORTABLE
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import Store
from rewards import plugin_files
from rewards.errors import RetortError


def configure(parser: argparse.ArgumentParser) -> None:
    run_arguments(parser)
    parser.add_argument("--inexact", action="store_true",
                        help="go on from checkpoints of other versions or hardware too, though the bytes will differ")
    parser.add_argument("--mend", action="store_true",
                        help="make artifacts again that were changed since they were made, and what was made from them")
    parser.add_argument("--verify", action="store_true",
                        help="read every file of the artifacts that are used, also those that seem untouched")
    parser.add_argument("-v", "--verbose", action="store_true",
                        help="show the lines of the stages' logs, too, with warnings of libraries")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors alone; the exit code tells the rest")
    parser.add_argument("--json-log", action="store_true",
                        help="print one JSON object for each thing that happens, and nothing else")


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that a run keeps for as long as it goes on, shared with `launch`: see `command`."""
    recipe_arguments(parser)
    parser.add_argument("--name", help="name of the run's folder (default: the recipe's name and what --set changed)")
    parser.add_argument("--portable", action="store_true",
                        help="compute as a processor with AVX2 does: the same bytes on other kinds of x86 processors")


def recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which recipe, shared with `plan`."""
    parser.add_argument("recipe", help="a recipe file, or the name of a shipped recipe such as quickstart")
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="STAGE.FIELD=VALUE",
                        help="change one value of the recipe, such as zero.steps=40 or seed=1; may be repeated")
    parser.add_argument("--shrink", action="append_const", dest="sets", const="shrink=true",
                        help="the same stages with budgets cut and a tiny random model of the same family in the place "
                             "of each one that is given: whether everything fits together, in half a minute")
    runs_argument(parser)


def runs_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="folder of all runs and their shared artifacts (default: ./runs)")


def command(args: argparse.Namespace) -> str:
    """What goes on with this run, as one would type it."""
    words = ["retort", "run", args.recipe]
    for override in args.sets:
        words += ["--set", override]
    if args.runs != Path("runs"):
        words += ["--runs", str(args.runs)]
    if args.portable:
        words.append("--portable")
    if args.name:
        words += ["--name", args.name]
    return shlex.join(words)


def name_of(args: argparse.Namespace, read: Recipe) -> str:
    """What the run's folder is called. Raises CommandError."""
    name: str = args.name or read.run_name
    if not is_name(name):
        raise CommandError(f"--name {name}: a run is named by letters, digits and . _ = , + - and not 'artifacts'")
    return name


def main(args: argparse.Namespace) -> int:
    asked = _asked(args)
    read = recipe.read(args.recipe, args.sets)
    trust.remember(file.parent for file in plugin_files.run_so_far())
    name = name_of(args, read)
    run = RunFolder(args.runs / name)
    store = Store(args.runs)
    if args.portable:
        if platform.machine() not in ("x86_64", "AMD64"):
            raise CommandError(f"--portable is for x86 processors, and this one is {platform.machine()}")
        os.environ.update(PORTABLE)  # stages have this process's environment
    if read.shrink:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # tiny models are for one process on the processor
    if args.verify:
        store.hashes.forget()
    prints = fingerprint.of_recipe(read, store.hashes)
    if other := run.taken_from(read.file, [store.path(step, one).name for step, one in prints.items()]):
        raise CommandError(f"{run.path} is a run of {other}, whose artifacts this recipe would take it from; give "
                           "another --name")
    # Last, and closed whatever happens: a live one hides the cursor of the terminal.
    shown = display(list(read.steps), asked, run.logs)
    try:
        code = Runner(read, prints, store, run, shown, command(args), inexact=args.inexact, mend=args.mend).run()
    except RetortError as error:
        shown.ended(error.exit_code)
        if isinstance(error, Held):
            raise RunError(f"run {name!r} is worked on by {describe(error.holder)}; wait for it, or give another "
                           "--name") from error
        raise
    finally:
        shown.close()
    shown.ended(code)
    return code


def _asked(args: argparse.Namespace) -> Asked:
    """What is to be seen of the run. Raises CommandError where two things are asked for that exclude each other."""
    if args.quiet and (args.verbose or args.json_log):
        raise CommandError("--quiet shows errors alone: leave it out, or leave out --verbose and --json-log")
    if args.quiet:
        warnings.simplefilter("ignore")  # of libraries, in this process; those of stages are in their logs
    return Asked(args.verbose, args.quiet, args.json_log)
