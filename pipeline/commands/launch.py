"""`retort launch RECIPE`: the script with which Slurm runs a recipe, on as many machines as its config says."""

import argparse
import re
import shlex
import sys
from pathlib import Path

from pipeline.commands.run import command, name_of, run_arguments
from pipeline.contract.errors import CommandError
from pipeline.recipe import accelerate_config, recipe
from pipeline.recipe.accelerate_config import AccelerateConfig
from pipeline.run.before.hardware import check_fields, on_gpus
from rewards.lazy import lazy

with lazy:
    from jinja2 import Environment, StrictUndefined

SCRIPT = r"""#!/bin/bash
# Runs {{ command }}
# as a Slurm job: sbatch {{ file }}
{% for name, value in options.items() -%}
#SBATCH --{{ name }}{{ "=" ~ value if value else "" }}
{% endfor %}
# The runner lives on the first machine and starts each stage on all of them. Before the time is over Slurm sends USR1
# to this script, and TERM where the job is cancelled, preempted or shut down. Both are passed on: the stage ends its
# step and leaves a checkpoint. Where its time is over the job goes back into the queue to go on from there.
export RETORT_GRACE={{ grace }}  # seconds for a checkpoint
trap 'asked=yes; kill -USR1 $!' USR1
trap 'kill -TERM $!' TERM
{{ program }} &
wait $!
code=$?
while kill -0 $! 2> /dev/null; do  # a signal has ended the wait, and the runner is still at its checkpoint
  wait $!
  code=$?
done
if [ -n "$asked" ] && [ $code -eq 138 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $code
"""

MARGIN = 30
"""Seconds that a job keeps for its end, when its stages have had theirs."""
_AHEAD = range(2 * MARGIN, 65_536)  # of which sbatch knows no more

_SAID_ELSEWHERE = {
    "time": "give --time", "signal": "give --ahead", "nodes": "num_machines of the accelerate file says it",
    "ntasks": "a machine has one task, which starts its processes",
    "ntasks-per-node": "a machine has one task, which starts its processes",
}
"""Options of sbatch that the rest of the script rests on, and what says them here."""

_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}")


def configure(parser: argparse.ArgumentParser) -> None:
    run_arguments(parser)
    parser.add_argument("--time", default="24:00:00", metavar="H:M:S", help="time of one job (default: 24:00:00)")
    parser.add_argument("--ahead", type=int, default=300, metavar="SECONDS",
                        help="how long before its time is over the job is told: a step and a checkpoint fit in, "
                             f"with {MARGIN} seconds to spare (default: 300)")
    parser.add_argument("--sbatch", action="append", default=[], metavar="OPTION=VALUE",
                        help="a further option of sbatch, such as partition=gpu or account=me; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="print the script, and write nothing")


def main(args: argparse.Namespace) -> int:
    if not _TIME.fullmatch(args.time):
        raise CommandError(f"--time {args.time}: write it as Slurm does: minutes, H:M:S, or D-H:M:S")
    if args.ahead not in _AHEAD:
        raise CommandError(f"--ahead {args.ahead}: give {_AHEAD.start} to {_AHEAD.stop - 1} seconds")
    if _seconds(args.time) < 2 * args.ahead:
        raise CommandError(f"--time {args.time}: a job that is told {args.ahead} seconds ahead does next to nothing in "
                           "it; give more time, or a shorter --ahead")
    read = recipe.read(args.recipe, args.sets)
    name, runs = name_of(args, read), args.runs.resolve()
    file = runs / f"{name}.sbatch"
    hardware = accelerate_config.read(read.accelerate) if read.accelerate else None
    if hardware:
        check_fields(hardware)
    program = [sys.executable, "-P", "-m", "pipeline.commands.cli", *shlex.split(command(args))[1:]]
    text = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(SCRIPT).render(
        command=command(args), file=shlex.quote(str(file)), program=shlex.join(program),
        grace=args.ahead - MARGIN,
        options={**_options(hardware, name, runs, args), **_further(args.sbatch)},
    )
    if args.dry_run:
        print(text, end="")
        return 0
    runs.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    print(f"{file} is written; start it with: sbatch {shlex.quote(str(file))}")
    return 0


def _seconds(time: str) -> int:
    """Of a time as Slurm writes it: minutes, minutes:seconds, h:m:s, and after days hours, h:m or h:m:s."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    whole = [*parts, 0, 0][:3] if dash or len(parts) == 3 else [0, *parts, 0][:3]
    return ((int(days or 0) * 24 + whole[0]) * 60 + whole[1]) * 60 + whole[2]


def _options(hardware: AccelerateConfig | None, name: str, runs: Path, args: argparse.Namespace) -> dict[str, str]:
    gpus = hardware.processes_here if hardware and on_gpus(hardware) else 0
    return {
        "job-name": name, "nodes": str(hardware.machines if hardware else 1), "ntasks-per-node": "1",
        **({"gpus-per-node": str(gpus)} if gpus else {}),
        "time": args.time, "signal": f"B:USR1@{args.ahead}", "requeue": "", "open-mode": "append",
        "chdir": shlex.quote(str(Path.cwd())), "output": shlex.quote(str(runs / f"{name}.%j.log")),
    }


def _further(given: list[str]) -> dict[str, str]:
    """Options as sbatch has them. Raises CommandError for what could not stand in a line of its own, and for what the
    script says itself."""
    found = {}
    for option in given:
        name, _, value = option.partition("=")
        name = name.removeprefix("--")
        if not name.replace("-", "").isalnum() or not value.isprintable():
            raise CommandError(f"--sbatch {option}: an option is written as partition=gpu")
        if name in _SAID_ELSEWHERE:
            raise CommandError(f"--sbatch {option}: {_SAID_ELSEWHERE[name]}")
        # sbatch splits at blanks and knows quotes, which may have been written already.
        found[name] = value if {"'", '"'} & {*value} else shlex.quote(value) if value else ""
    return found
