"""`retort grade FILE`: grade the answers of any model."""

import argparse
import sys
from pathlib import Path

from pipeline.errors import UserError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Grade JSONL rows of answers; verdicts go to standard output, a summary to standard error."
    parser.add_argument("file", metavar="FILE", help='rows {"verifier", "answer", "completion"}; - for standard input')
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="grade in N processes (default 1)")


def main(args: argparse.Namespace) -> int:
    from rewards.dump import grade_dump, open_lines
    from rewards.workers import WorkerError

    if args.jobs < 1:
        raise UserError("retort grade: --jobs is 1 or more")
    if args.file != "-" and not Path(args.file).is_file():
        raise UserError(f"retort grade: there is no file {args.file}; for standard input write -")
    try:
        grade_dump(open_lines(args.file), sys.stdout, sys.stderr, jobs=args.jobs)
    except WorkerError as error:
        raise UserError(f"retort grade: {error}") from error
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be written, at exit neither.
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
