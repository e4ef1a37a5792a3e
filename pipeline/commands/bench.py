"""`retort bench`: how fast graders are on this machine."""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.model_reference import usage_error

LEVELS = ("L1", "L2", "L3", "L4")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("grade", "math"),
                        help="grade: programs put to three tests each, in the sandbox; math: answers of GSM8K and MATH-500, beside math-verify")
    parser.add_argument("--level", choices=LEVELS, default="L3", help="grade: highest level of the sandbox that is used (default L3)")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="grade: time for each way (default 2)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="math: folder of benchmark files (default: $RETORT_DATA)")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")


def main(args: argparse.Namespace) -> int:
    return _programs(args) if args.what == "grade" else _mathematics(args)


def _programs(args: argparse.Namespace) -> int:
    from pipeline import bench_code
    from rewards.sandbox.levels import Level
    from rewards.sandbox.processes import SandboxError

    if not 0 < args.seconds <= 600:
        raise usage_error(f"--seconds must be above 0 and at most 600, not {args.seconds:g}")
    try:
        reached, rates = bench_code.measure(Level[args.level], args.seconds)
    except SandboxError as error:
        raise UserError(f"retort bench: {error}") from error
    if args.json:
        print(json.dumps({"level": reached.name, "runs_per_second": {name: vars(rate) for name, rate in rates.items()}}, indent=2))
        return 0
    print(f"programs with three tests each, one after the other on one core, at {reached.name}:")
    width = max(map(len, rates))
    for name, rate in rates.items():
        print(f"  {name:<{width}}  {rate.median:7.1f} runs/s  (median of {rate.rounds} rounds, {rate.least:.1f} to {rate.most:.1f})")
    return 0


def _mathematics(args: argparse.Namespace) -> int:
    from eval.data_folder import use_data_folder
    from eval.problems import ProblemSetError
    from pipeline import bench_math

    try:
        if args.data is not None:
            use_data_folder(args.data)
    except ProblemSetError as error:
        raise usage_error(f"retort bench: {error}") from error
    found, starts = bench_math.compare_all(), bench_math.import_seconds()
    if args.json:
        print(json.dumps({"sets": {name: _row(one) for name, one in found.items()}, "import_seconds": starts}, indent=2))
        return 0
    print(f"answers graded one after the other in one process, by us and by math-verify in turn ({bench_math.ROUNDS} rounds each):")
    for name, one in found.items():
        print(f"  {name:<14}{one}")
        if not isinstance(one, str):
            print(f"  {'':<14}{one.answers} answers; the verdicts differ on {one.differ}")
    print(f"import rewards: {statistics.median(starts):.3f} s of a processor more than a bare interpreter ({min(starts):.3f} to {max(starts):.3f})")
    return 0


def _row(one: Any) -> Any:
    if isinstance(one, str):
        return one
    return {**vars(one), "ratio": {"median": statistics.median(one.ratios), "least": min(one.ratios), "most": max(one.ratios)}}
