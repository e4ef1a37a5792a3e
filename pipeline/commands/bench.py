"""`retort bench`: how fast graders, rollouts, training and starts are on this machine."""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any  # each benchmark has a dataclass of its own for what it measured

from eval.errors import ProblemSetError
from eval.problems.data_folder import use_data_folder
from pipeline.bench import code, math, start
from pipeline.contract.errors import CommandError, RunError
from pipeline.disk.durable import JsonMapping
from rewards.lazy import lazy
from rewards.sandbox.levels import Level
from rewards.sandbox.processes import SandboxError

with lazy:
    import torch

    from pipeline.bench import moe, rollouts, train


LEVELS = ("L1", "L2", "L3", "L4")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("grade", "math", "rollouts", "train", "moe", "start"),
                        help="grade: programs put to three tests each, in the sandbox; math: answers of GSM8K and "
                             "MATH-500, beside math-verify; "
                             "rollouts: tokens a second, beside model.generate; train: steps of GRPO and SFT, beside "
                             "trl; moe: what watching, balancing and replay add to them; start: commands "
                             "that should answer at once")
    parser.add_argument(
        "--level", choices=LEVELS, default="L3", help="grade: highest level of the sandbox that is used (default L3)"
    )
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="grade: time for each way (default 2)")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="math: folder of benchmark files (default: $RETORT_DATA)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N",
        help="rollouts, train, moe, start: times that each side is measured (default 5)"
    )
    parser.add_argument("--model", choices=("toys", "smollm2"), default="toys",
                        help="rollouts, train: random models as small as the quickstart's, or of SmolLM2-135M's "
                             "shape (default toys)")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")


def main(args: argparse.Namespace) -> int:
    if args.rounds < 1:
        raise CommandError(f"--rounds must be at least 1, not {args.rounds}")
    ways = {
        "grade": _programs, "math": _mathematics, "rollouts": _rollouts, "train": _training, "moe": _routers,
        "start": _start
    }
    return ways[args.what](args)


def _programs(args: argparse.Namespace) -> int:
    if not 0 < args.seconds <= 600:
        raise CommandError(f"--seconds must be above 0 and at most 600, not {args.seconds:g}")
    try:
        reached, rates = code.measure(Level[args.level], args.seconds)
    except SandboxError as error:
        raise RunError(f"retort bench: {error}") from error
    if args.json:
        print(
            json.dumps(
                {"level": reached.name, "runs_per_second": {name: vars(rate) for name, rate in rates.items()}}, indent=2
            )
        )
        return 0
    print(f"programs with three tests each, one after the other on one core, at {reached.name}:")
    width = max(map(len, rates))
    for name, rate in rates.items():
        print(
            f"  {name:<{width}}  {rate.median:7.1f} runs/s  (median of {rate.rounds} rounds, {rate.least:.1f} to "
            f"{rate.most:.1f})"
        )
    return 0


def _mathematics(args: argparse.Namespace) -> int:
    try:
        if args.data is not None:
            use_data_folder(args.data)
    except ProblemSetError as error:
        raise CommandError(f"retort bench: {error}") from error
    found, starts = math.compare_all(), math.import_seconds()
    if args.json:
        print(
            json.dumps({"sets": {name: _row(one) for name, one in found.items()}, "import_seconds": starts}, indent=2)
        )
        return 0
    print(
        f"answers graded one after the other in one process, by us and by math-verify in turn ({math.ROUNDS} rounds "
        f"each):"
    )
    for name, one in found.items():
        print(f"  {name:<14}{one}")
        if not isinstance(one, str):
            print(f"  {'':<14}{one.answers} answers; the verdicts differ on {one.differ}")
    print(
        f"import rewards: {statistics.median(starts):.3f} s of a processor more than a bare interpreter "
        f"({min(starts):.3f} to {max(starts):.3f})"
    )
    return 0


def _row(one: Any) -> Any:
    if isinstance(one, str):
        return one
    return {
        **vars(one),
        "ratio": {"median": statistics.median(one.ratios), "least": min(one.ratios), "most": max(one.ratios)}
    }


def _rollouts(args: argparse.Namespace) -> int:
    cases = rollouts.CASES[args.model]
    found = {name: rollouts.measure(case, args.rounds, _tell(name, args)) for name, case in cases.items()}
    if args.json:
        print(json.dumps({"rollouts": {name: vars(one) for name, one in found.items()}}, indent=2))
        return 0
    print(f"rollouts at temperature 1, by us and by model.generate in turn ({args.rounds} rounds each), {_machine()}:")
    for name, one in found.items():
        print(f"  {name:<20}{one.ratio:6.2f} times as fast ({one.ratio_min:.2f} to {one.ratio_max:.2f})   "
              f"{one.tokens_per_s:7.0f} tokens/s, "
              f"generate {one.baseline_tokens_per_s:6.0f}   {one.share_of_peak:5.1%} of peak   log-probabilities "
              f"within {one.max_logprob_error:.0e}")
    for name, points in rollouts.growth().items() if args.model == "toys" else ():
        print(f"\ntokens/s by {name}")
        most = max(points.values())
        for value, rate in points.items():
            print(f"  {value:>5}  {rate:7.0f}  {'#' * round(50 * rate / most)}")
    return 0


def _training(args: argparse.Namespace) -> int:
    found = train.measure(args.model, args.rounds, _tell("", args))
    return _show(args, found, f"training steps, by us and by trl in turn ({args.rounds} rounds each), "
                              f"{_machine()}", lambda one: (
        f"{one.ratio:6.2f} times as fast ({one.ratio_min:.2f} to {one.ratio_max:.2f})   {one.seconds:.2f} s a step, "
        f"trl {one.baseline_seconds:.2f} s"
    ))


def _routers(args: argparse.Namespace) -> int:
    found = moe.measure(args.rounds, _tell("", args))
    title = (
        f"what is added to a training step, with it and without in turn ({args.rounds} rounds), processor time of "
        f"one thread"
    )
    return _show(
        args, found, title,
        lambda one: f"{one.share:+6.1%} ({one.least:+.1%} to {one.most:+.1%}) of {one.seconds:.2f} s"
    )


def _start(args: argparse.Namespace) -> int:
    found = start.measure(args.rounds)
    return _show(args, found, f"starts of retort ({args.rounds} rounds)", lambda one: (
        f"{one.median:.2f} s ({one.least:.2f} to {one.most:.2f}), {one.processor:.2f} s of a processor; at most "
        f"{one.allowed:.1f} s wanted"
    ))


def _show(args: argparse.Namespace, found: JsonMapping, title: str, line: Callable[[Any], str]) -> int:
    """What was measured, by name: as JSON, or a line each under a title."""
    if args.json:
        print(json.dumps({args.what: {name: vars(one) for name, one in found.items()}}, indent=2))
        return 0
    print(f"{title}:")
    width = max(map(len, found))
    for name, one in found.items():
        print(f"  {name:<{width}}  {line(one)}")
    return 0


def _machine() -> str:
    threads = torch.get_num_threads()
    return "one thread, seconds of a processor" if threads == 1 else f"{threads} threads"


def _tell(name: str, args: argparse.Namespace) -> Callable[[str], None]:
    """Says every round's ratio on the standard error, where a person waits."""
    def tell(text: str) -> None:
        if not args.json:
            print(f"  {name} {text}", file=sys.stderr, flush=True)

    return tell
