"""`retort grade FILE`: grade the answers of any model. `retort grade --audit SET`: try the grader on a problem set."""

import argparse
import sys
from pathlib import Path

from eval.audit import audit
from eval.errors import ProblemSetError
from eval.problems import load
from eval.problems.data_folder import use_data_folder
from pipeline.contract.errors import CommandError, RunError
from rewards.dump import grade_dump, open_dump
from rewards.registry import RegistryError
from rewards.workers import WorkerError, cores


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Grade JSONL rows of answers; verdicts go to standard output, a summary to standard error. With --audit: "
        "prove that every "
        "gold answer of a problem set earns CORRECT against itself and that a wrong one does not."
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help='rows {"verifier", "answer", "completion"}; - for standard input'
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="grade in N processes (default: as many as there are cores)"
    )
    parser.add_argument("--audit", metavar="SET:SPLIT", help="a problem set such as gsm8k:test, instead of a file")
    parser.add_argument("--problems", type=int, metavar="N", help="audit N problems of the set (default: all of them)")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="folder of benchmark files for --audit (default: $RETORT_DATA)"
    )


def main(args: argparse.Namespace) -> int:
    if args.jobs is None:
        args.jobs = cores()
    if args.jobs < 1:
        raise CommandError("retort grade: --jobs is 1 or more")
    if (args.file is None) == (args.audit is None):
        raise CommandError("retort grade: give either a FILE of rows or --audit SET:SPLIT")
    return _grade(args) if args.audit is None else _audit(args)


def _grade(args: argparse.Namespace) -> int:
    """1 where there are rows and none can be graded."""
    if args.file != "-" and not Path(args.file).exists():
        raise CommandError(f"retort grade: there is no file {args.file}; for standard input write -")
    if Path(args.file).is_dir():
        raise CommandError(f"retort grade: {args.file} is a folder; give one of its files")
    try:
        counts = grade_dump(open_dump(args.file), sys.stdout.buffer, sys.stderr, jobs=args.jobs)
    except WorkerError as error:
        raise RunError(f"retort grade: {error}") from error
    # A file of another kind has not a row that can be graded.
    return int(bool(counts) and set(counts) == {"bad rows"})


def _audit(args: argparse.Namespace) -> int:
    """1 where a check fails."""
    try:
        if args.data is not None:
            use_data_folder(args.data)
        problems = load(args.audit, args.problems)
    except (ProblemSetError, RegistryError) as error:
        raise CommandError(f"retort grade: {error}") from error
    right = wrong = failed = 0
    for outcome in audit(problems, jobs=args.jobs):
        right, wrong = right + outcome.check.right, wrong + (not outcome.check.right)
        if outcome.fails:
            failed += 1
            print(outcome)
    what = f"{failed} FAIL" if failed else "all as they should be"
    print(
        f"{args.audit}: {len(problems)} problems, {right} right answers and {wrong} wrong ones graded: {what}",
        file=sys.stderr
    )
    return int(failed > 0)
