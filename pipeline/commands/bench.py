"""`retort bench`: how fast graders are on this machine."""

import argparse

from pipeline.errors import UserError
from pipeline.model_reference import usage_error

LEVELS = ("L1", "L2", "L3", "L4")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("grade",), help="grade: programs put to three tests each, in the sandbox")
    parser.add_argument("--level", choices=LEVELS, default="L3", help="highest level of the sandbox that is used (default L3)")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="time for each way (default 2)")


def main(args: argparse.Namespace) -> int:
    from pipeline import bench_code
    from rewards.sandbox.levels import Level
    from rewards.sandbox.processes import SandboxError

    if not 0 < args.seconds <= 600:
        raise usage_error(f"--seconds must be above 0 and at most 600, not {args.seconds:g}")
    try:
        reached, rates = bench_code.measure(Level[args.level], args.seconds)
    except SandboxError as error:
        raise UserError(f"retort bench: {error}") from error
    print(f"programs with three tests each, one after the other on one core, at {reached.name}:")
    width = max(map(len, rates))
    for name, rate in rates.items():
        print(f"  {name:<{width}}  {rate.median:7.1f} runs/s  (median of {rate.rounds} rounds, {rate.least:.1f} to {rate.most:.1f})")
    return 0
