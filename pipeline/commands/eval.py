"""`retort eval`: a model asked problem sets, graded and counted, outside of any recipe."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pipeline.model_reference import model_of, usage_error


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder that transformers loads, an artifact, RUN:STAGE, or a hub id")
    parser.add_argument("--problems", nargs="+", required=True, metavar="SET:SPLIT", help="such as gsm8k:test")
    parser.add_argument("--n", type=int, default=None, help="problems of each set (default: all of them)")
    parser.add_argument("--rollouts", type=int, default=1, help="completions a problem (default: 1)")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default: 1)")
    parser.add_argument("--max-tokens", type=int, default=64, help="longest completion (default: 64)")
    parser.add_argument("--open-thinking", action="store_true", help="begin every answer with <think>")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=None, help="folder of benchmark files (default: $RETORT_DATA)")
    parser.add_argument("--out", type=Path, default=None, help="folder for report.json and the rollouts")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def main(args: argparse.Namespace) -> int:
    from eval.data_folder import use_data_folder
    from eval.problems import ProblemSetError, load
    from rewards.registry import RegistryError

    for option, least in (("rollouts", 1), ("max_tokens", 1), ("temperature", 0)):
        if getattr(args, option) < least:
            raise usage_error(f"--{option.replace('_', '-')} must be at least {least}, not {getattr(args, option)}")
    folder, label = model_of(args.model)
    try:
        if args.data is not None:
            use_data_folder(args.data)
        sets = {reference: load(reference, args.n, args.seed) for reference in args.problems}
    except (ProblemSetError, RegistryError) as error:
        raise usage_error(str(error)) from error
    report = {"models": {label: _measure(args, folder, label, sets)}}
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        from eval.table import table

        print(table(report["models"]))
    return 0


def _measure(args: argparse.Namespace, folder: Any, label: str, sets: dict[str, Any]) -> dict[str, Any]:
    from eval.engine import engine_for
    from eval.engine.types import Sampling
    from eval.problems import set_names
    from eval.report import reduce
    from eval.rollouts import collect, rollouts_file, write_rows
    from pipeline import models
    from pipeline.stage import StageError

    try:
        model, tokenizer = models.load(folder)
    except StageError as error:
        raise usage_error(str(error)) from error
    engine = engine_for(model, tokenizer)
    report: dict[str, Any] = {"parameters": models.parameters(model), "problems": {}}
    names = set_names(sets)
    for reference, problems in sets.items():
        rollouts = collect(
            engine,
            tokenizer,
            problems,
            Sampling(args.max_tokens, args.temperature),
            n=args.rollouts,
            seed_parts=(args.seed, "eval"),
            open_thinking=args.open_thinking,
            context=models.context_length(model),
            progress=_Line(reference) if sys.stderr.isatty() else None,
        )
        rows = [rollout.row() for rollout in rollouts]
        name = names[reference]
        report["problems"][name] = reduce(rows)
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            write_rows(args.out / rollouts_file(label, name), rows)
    return report


class _Line:
    """One line on standard error that counts rollouts."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, done: int, total: int) -> None:
        end = "\n" if done >= total else ""
        print(f"\r{self.name}: {done} of {total} rollouts", end=end, file=sys.stderr, flush=True)
