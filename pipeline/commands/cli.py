"""`retort`: finds the subcommand, imports it alone, and turns what a person did wrong into plain lines."""

import argparse
import contextlib
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import NoReturn

from pipeline.commands import guard
from pipeline.commands.alarm import Alarm
from rewards import foreign, terminal
from rewards.errors import RetortError
from rewards.lazy import lazy

with lazy:
    from importlib.metadata import version

SUMMARIES = {
    "run": "run a recipe, or go on with a run that was stopped",
    "launch": "write the script that runs a recipe as a Slurm job",
    "plan": "show what `run` would do, and do nothing",
    "status": "show what of a run is done, and what would be made again and why",
    "verify": "recompute the hashes of what a run made, and say what differs",
    "clean": "remove what no run needs any more",
    "list": "list recipes, stages and their fields, rules, verifiers and problem sets",
    "grade": "grade completions of a JSONL file, without a model",
    "eval": "measure a model on problem sets",
    "compare": "tell whether one measured model is better than another",
    "look": "read the rollouts of a run in a browser: filter them, follow a problem, see each token",
    "ask": "put a question to a model of a run and see it think",
    "export": "write a model as a folder that llama.cpp, ollama or vLLM loads",
    "experts": "show what the experts of a model do with texts of different domains",
    "serve-rollouts": "start vLLM in its own environment, for stages to send weights to and draw from",
    "doctor": "show how isolated model-written programs run here, and what the machine and the packages are",
    "bench": "measure graders, rollouts, training and starts on this machine",
    "new": "write a recipe, a stage, problems, a verifier or a rule of your own, with a test",
    "report": "show what a run made, as a table or as JSON",
    "completion": "print the script by which bash or zsh completes all of this",
}


class Parser(argparse.ArgumentParser):
    """Says what was asked wrongly in one line, and not behind a page of all options."""

    def error(self, message: str) -> NoReturn:
        _, unknown, options = message.partition("unrecognized arguments: ")
        known = [name.removeprefix("--") for name in self._option_string_actions if name.startswith("--")]
        first = options.partition(" ")[0].partition("=")[0].removeprefix("--")
        near = get_close_matches(first, known, n=1) if unknown else []
        hint = f"did you mean --{near[0]}?" if near else f"see {self.prog} --help"
        self.exit(2, f"{self.prog}: {terminal.one_line(message)}; {hint}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of a command: 0 done, 1 failed, 2 asked wrongly, 128 + n ended by signal n (see README.md).

    What it prints came from recipes, plug-ins, models and servers, and reaches no terminal as it is.
    """
    with terminal.escaping(), foreign.watched_by(Alarm()), _plain_warnings():
        return _answer(list(sys.argv[1:] if arguments is None else arguments))


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings are a line for who reads the terminal, without the place in our code that Python puts before them."""
    before = warnings.formatwarning
    warnings.formatwarning = _one_line  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.formatwarning = before


def _one_line(message: Warning | str, *_where: object) -> str:
    return f"retort: {terminal.one_line(str(message))}\n"


def _answer(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if given else 2
    if given[0] == "--version":
        print(f"retort {version('retort')}")
        return 0
    hidden = guard.complaint()
    if hidden:
        print(f"retort: {hidden}", file=sys.stderr)
        return 1
    return _command(given[0], given[1:])


def _command(name: str, rest: Sequence[str]) -> int:
    if name not in SUMMARIES:
        near = get_close_matches(name, SUMMARIES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else "see retort --help"
        print(f"retort: there is no command {name!r}; {hint}", file=sys.stderr)
        return 2
    # Bars that move would be drawn into what is printed, and are made of names from outside. Read once, at import.
    for library in ("HF_HUB", "HF_DATASETS"):
        os.environ.setdefault(f"{library}_DISABLE_PROGRESS_BARS", "1")
    try:
        module = importlib.import_module(f"pipeline.commands.{name.replace('-', '_')}")
        parser = Parser(prog=f"retort {name}", description=SUMMARIES[name], allow_abbrev=False)
        module.configure(parser)
        return int(module.main(parser.parse_args(rest)))
    except RetortError as error:
        for line in error.lines:
            print(terminal.one_line(line), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `retort list | head`: nobody reads on; silence the flush at exit too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        print(f"retort: {f'{error.filename}: ' if error.filename else ''}{error.strerror}", file=sys.stderr)
        return 1


def _help() -> str:
    width = max(map(len, SUMMARIES))
    commands = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in SUMMARIES.items())
    return ("usage: retort COMMAND ...\n\n"
            "From a Mixture-of-Experts base model to a reasoning model and its small students, in one run.\n\n"
            f"{commands}\n\nretort COMMAND --help tells the options of a command.")


if __name__ == "__main__":
    sys.exit(main())
