"""`retort look`: the rollouts of a run in a browser on this machine, to filter and to read."""

import argparse
import contextlib
import os
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.run import runs_argument
from pipeline.contract.errors import CommandError
from pipeline.store.run_folder import RunFolder, find_run, is_run
from rewards.lazy import lazy
from rewards.registry import did_you_mean

with lazy:
    from pipeline.results.viewer.rows import Rollouts
    from pipeline.results.viewer.server import LookServer

if TYPE_CHECKING:
    from pipeline.results.viewer.rows import Rollouts
    from pipeline.results.viewer.server import LookServer


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN[:STAGE]",
                        help="a run, its folder or its name, and one of its stages where only that is to be seen")
    parser.add_argument("--port", type=_port, default=0, metavar="N",
                        help="port on this machine (default: one that is free)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    runs_argument(parser)


def main(args: argparse.Namespace) -> int:
    rollouts = rollouts_of(args.run, args.runs)
    try:
        server = LookServer(rollouts, args.port)
    except OSError as error:
        raise CommandError(f"port {args.port} cannot be used ({error.strerror}); leave --port out for one that is "
                           "free") from error
    with server:
        print(f"{server.address}  (Ctrl-C ends it)", flush=True)
        with contextlib.nullcontext() if args.no_browser else opened(server.address):
            server.serve_forever()
    return 0


def rollouts_of(reference: str, runs: Path) -> "Rollouts":
    """The rollouts that RUN or RUN:STAGE names. Raises CommandError where there are none."""
    before, colon, stage = reference.rpartition(":")
    # A folder may have a colon in its name.
    whole = not colon or any(is_run(folder) for folder in (Path(reference), runs / reference))
    run = RunFolder(find_run(reference if whole else before, runs))
    found = Rollouts(run, "" if whole else stage)
    stages = found.stages()
    if not stages:
        raise CommandError([f"{run.path} has kept no rollouts; stages of the kinds grpo, sample and evaluate keep some",
                            *run.lost().values()])
    if found.stage and found.stage not in stages:
        hint = did_you_mean(found.stage, stages)
        gone = [line for name, line in run.lost().items() if name == found.stage]
        raise CommandError([f"{run.path} has kept no rollouts of a stage {found.stage!r}{hint}", *gone])
    return found


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535")


@contextlib.contextmanager
def opened(address: str) -> Iterator[None]:
    """A browser is shown the address, where one can be seen; what it is shown it by is gone afterwards.

    It is given a file that only this user can read, since every user of a machine sees what programs are started with,
    and the address holds the secret.
    """
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        yield  # browsers of a terminal would take it over
        return
    with tempfile.TemporaryDirectory(prefix="retort-look-") as folder:
        file = Path(folder) / "look.html"
        file.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(address)}">\n')
        webbrowser.open(file.as_uri())
        yield
