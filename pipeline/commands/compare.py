"""`retort compare`: is A better than B? Paired by problem, on every set that both were measured on.

Of two runs every model that both measured on some set is compared. Where the numbers of a problem's rollouts differ, as
many of the first as both have are compared.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from eval.errors import ComparisonError
from pipeline.commands.run import runs_argument
from pipeline.contract.errors import CommandError
from pipeline.disk.durable import JsonObject
from rewards.lazy import lazy
from rewards.types import Label

with lazy:
    from eval import compare as comparing
    from eval.report import by_problem, unfinished
    from pipeline.results.rollout_files import measured, models_measured, run_of


if TYPE_CHECKING:
    from eval.compare import Comparison
    from pipeline.results.rollout_files import Measured

_WHAT = ("RUN:STAGE (runs/quickstart:zero), a folder that `retort eval` wrote, or a JSONL file of rollouts; or a run, "
         "against another run")


class NothingInCommonError(CommandError):
    """Two models were measured on no problem set in common."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help=_WHAT)
    parser.add_argument("b", metavar="B", help="the same for the other model")
    parser.add_argument("--json", action="store_true",
                        help="print the comparison as JSON, by problem set; of two runs by model first")
    runs_argument(parser)


def main(args: argparse.Namespace) -> int:
    models = _models_of_both(args.a, args.b, args.runs)
    pairs = {"": (args.a, args.b)} if models is None else {
        model: (f"{args.a}:{model}", f"{args.b}:{model}") for model in models}
    found: JsonObject = {}
    texts: list[str] = []
    left_out: list[str] = []
    for model, (a, b) in pairs.items():
        try:
            sets, more = _compared(a, b, args.runs, left_out)
        except NothingInCommonError as error:
            left_out += error.lines
            continue
        if sets:
            found |= {model: sets} if model else sets
        texts += more
    if not found:
        raise CommandError(left_out)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    print(json.dumps(found, indent=2) if args.json else "\n\n".join(texts))
    return 0


def _models_of_both(a: str, b: str, runs: Path) -> list[str] | None:
    """The models that two runs measured; None where these are not two runs. Raises CommandError where there is none."""
    run_a, run_b = run_of(a, runs), run_of(b, runs)
    if run_a is None or run_b is None:
        for reference, run, other in ((a, run_a, run_b), (b, run_b, run_a)):
            if run is None and other is not None:
                measured(reference, runs)  # a run that is not there is told first
        return None
    ours, theirs = models_measured(run_a), models_measured(run_b)
    both = [model for model in ours if model in theirs]
    if not both:
        names = [", ".join(names) or "nothing" for names in (ours, theirs)]
        lost = [*run_a.lost().values(), *run_b.lost().values()]
        raise CommandError([f"{a} measured {names[0]}, and {b} {names[1]}; name one of each, such as "
                            f"{a}:{(ours or ['MODEL'])[0]} {b}:{(theirs or ['MODEL'])[0]}", *lost])
    return both


def _compared(a: str, b: str, runs: Path, left_out: list[str]) -> tuple[JsonObject, list[str]]:
    """One model against another: by problem set what is known, and a text for a person. A set of which no problem asks
    the same of both gets a line in `left_out`."""
    found: JsonObject = {}
    texts = []
    for one, other in _pairs(a, b, measured(a, runs), measured(b, runs)):
        rows_a, rows_b = one.rows(), other.rows()
        others = comparing.asked_otherwise(rows_a, rows_b)
        both = by_problem(rows_a).keys() & by_problem(rows_b).keys()
        if others and len(others) == len(both):
            left_out.append(f"{one.file} and {other.file}: all {len(others)} problems of both ask something else under "
                            f"the same id, such as {_example(others)}; measure both on the same problems")
            continue
        rows_a, rows_b = ([row for row in rows if row["problem"] not in others] for rows in (rows_a, rows_b))
        less = [f"{len(others)} of {len(both)} problems, which ask something else under the same id, such as "
                f"{_example(others)}"] if others else []
        try:
            comparison = comparing.compare(rows_a, rows_b)
        except ComparisonError as error:
            raise CommandError("; left out: ".join([f"{one.file} and {other.file}: {error}", *less])) from error
        found[one.problems] = {**_as_dict(comparison, rows_a, rows_b, one.differs_from(other)),
                               "asked_otherwise": list(others)}
        texts.append("\n  left out: ".join([as_text(one.problems, a, b, comparison, found[one.problems]), *less]))
    return found, texts


def _example(others: "dict[str, tuple[str, str]]") -> str:
    """A problem's id and its two prompts, from shortly before the place where they part."""
    problem, (one, other) = next(iter(others.items()))
    same = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]),
                min(len(one), len(other)))
    start = max(0, same - 20)
    told = [f"{'...' if start else ''}{prompt[start:][:60]}" for prompt in (one, other)]
    return f"{problem}: {told[0]!r} and {told[1]!r}"


def _pairs(a: str, b: str, ours: "list[Measured]", theirs: "list[Measured]") -> "list[tuple[Measured, Measured]]":
    """One pair a problem set; where a set was measured more than once, the last ones that were made the same way.

    A single file says nothing of its set: it goes with what the other side has, if that is one set too.
    """
    if len(ours) == len(theirs) == 1 and (Path(a).expanduser().is_file() or Path(b).expanduser().is_file()):
        return [(ours[0], theirs[0])]
    pairs: dict[str, tuple[Measured, Measured]] = {}
    for one in ours:
        for other in theirs:
            if one.problems != other.problems:
                continue
            before = pairs.get(one.problems)
            if before is None or len(one.differs_from(other)) <= len(before[0].differs_from(before[1])):
                pairs[one.problems] = (one, other)
    if not pairs:
        sets = [", ".join(dict.fromkeys(m.problems for m in side)) for side in (ours, theirs)]
        raise NothingInCommonError(f"{a} and {b} were measured on no problem set in common: {sets[0]}; {sets[1]}")
    return list(pairs.values())


def _as_dict(
    comparison: "Comparison", rows_a: list[JsonObject], rows_b: list[JsonObject], differs: list[str]
) -> JsonObject:
    return {**asdict(comparison), "a_beside": _beside(rows_a), "b_beside": _beside(rows_b),
            "measured_differently": differs}


def _beside(rows: list[JsonObject]) -> JsonObject:
    """What stands beside a score. Rows of somebody else's may have a problem and a verdict alone."""
    tokens = [row["tokens"] for row in rows if isinstance(row.get("tokens"), int | float)]
    shares = {label.value: sum(row["verdict"] == label for row in rows) / len(rows)
              for label in (Label.TRUNCATED, Label.UNGRADABLE)}
    return {"rollouts": min(map(len, by_problem(rows).values())), "unfinished": unfinished(rows), **shares,
            "mean_length": sum(tokens) / len(tokens) if len(tokens) == len(rows) else None}


def as_text(problems: str, a: str, b: str, found: "Comparison", more: JsonObject) -> str:
    """The comparison on one problem set, for a person."""
    width = max(len(a), len(b))
    lines = [f"{problems}: {found.n} problems"]
    for name, score, beside in ((a, found.a, more["a_beside"]), (b, found.b, more["b_beside"])):
        cut = "" if beside["unfinished"] is None else f"{100 * beside['unfinished']:.1f}% cut short, "
        lines.append(f"  {name:<{width}}  pass@1 {100 * score:5.1f}   of {beside['rollouts']} rollouts each: "
                     f"{cut}{100 * beside['ungradable']:.1f}% ungradable")
    d = found.difference
    lines.append(f"  difference {100 * d.mean:+.1f} points, 95% interval {100 * d.low:+.1f} to {100 * d.high:+.1f}, "
                 f"p {'< 0.0001' if found.p < 0.0001 else f'= {found.p:.4f}'}")
    if found.uneven:
        lines.append(f"  (of each problem's first rollouts, as many as both have: their numbers differ at "
                     f"{found.uneven} of {found.n} problems)")
    lines.append(f"  better at {found.a_better} problems, worse at {found.b_better}, the same at {found.same}; "
                 f"flipped to solved {found.to_a}, to unsolved {found.to_b}")
    lines.append(f"  {_verdict(found)}")
    if more["measured_differently"]:
        lines.append(f"  careful, they were measured differently: {'; '.join(more['measured_differently'])}")
    return "\n".join(lines)


def _verdict(found: "Comparison") -> str:
    if found.p < 0.05:
        return f"A is {'better' if found.difference.mean > 0 else 'worse'} at the 5% level"
    small = f"these would show a difference of {100 * found.visible:.1f} points in {comparing.POWER:.0%} of tries"
    if found.more is None:
        return f"no difference is seen; {small}"
    return f"that cannot be told apart from chance; about {found.more:,} more problems would tell ({small})"
