"""What more computing at test time buys: accuracy against tokens, by ways to choose among k rollouts, and by thinking
budget."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any  # figures of a report, as JSON

from eval.metrics import best_of_k, maj_at_k, pass_at_k, share
from eval.protocol import EFFORTS, Effort
from eval.report import DIGITS, Row, by_problem, vote_of
from eval.table import with_interval
from rewards.types import Label

Point = dict[str, Any]


def curve(rows: Iterable[Row]) -> list[Point]:
    """One point for k = 1, 2, 4, ... and the number of rollouts that every problem has. Keys:

    k, tokens   rollouts a problem, and the tokens that they take on average
    vote        the majority's answer (maj@k)
    best        the best of k by verdict: an oracle that no deployment has (pass@k)
    rule        the rollout with the highest value in `best_by`, of a rule or of confidence, where the rows have one

    Each is the exact expectation over draws of k of a problem's gradable rollouts, with its _ci95 clustered by problem.
    A problem without any is left out; one with fewer than k counts with all it has.
    """
    every = by_problem(rows)
    gradable = [[row for row in found if row["verdict"] != Label.UNGRADABLE] for found in every.values()]
    problems = [found for found in gradable if found]
    if not problems:
        return []
    most = min(len(found) for found in every.values())
    return [_point(problems, k) for k in sorted({2**i for i in range(most.bit_length())} | {most}) if k <= most]


def _point(problems: Sequence[Sequence[Row]], k: int) -> Point:
    values: dict[str, list[float]] = {"vote": [], "best": [], "rule": []}
    tokens = []
    for rows in problems:
        correct = [row["verdict"] == Label.CORRECT for row in rows]
        drawn = min(k, len(rows))
        values["vote"].append(maj_at_k([vote_of(row) for row in rows], correct, drawn))
        values["best"].append(pass_at_k(len(rows), sum(correct), drawn))
        if all("best_by" in row for row in rows):
            values["rule"].append(best_of_k([row["best_by"] for row in rows], correct, drawn))
        tokens.append(k * sum(row["tokens"] for row in rows) / len(rows))
    point: Point = {"k": k, "tokens": round(math.fsum(tokens) / len(tokens), DIGITS)}
    for name, found in values.items():
        # A curve over those problems alone whose rows have the rule's value would be one of another set.
        if found and len(found) == len(problems):
            estimate = share(found)
            point |= {
                name: round(estimate.mean, DIGITS),
                f"{name}_ci95": [round(estimate.low, DIGITS), round(estimate.high, DIGITS)]
            }
    return point


def efforts(measured: Mapping[tuple[Effort | None, int | None], Mapping[str, Any]]) -> list[Point]:
    """Accuracy and length of thinking over efforts and thinking budgets: `measured` maps each pair that was asked, None
    for no effort or no budget, to what eval.report.reduce gave for it. Budgets of an effort rise, and none comes
    last. How long a model thinks that was asked for neither, nobody has counted."""
    order = sorted(measured, key=_place)
    keys = ("thinking", "thinking_ci95", "pass@1", "pass@1_ci95")
    return [{"effort": effort, "budget": budget, "tokens": measured[effort, budget]["mean_length"],
             **{key: value for key in keys if (value := measured[effort, budget].get(key)) is not None}}
            for effort, budget in order]


def _place(asked: tuple[Effort | None, int | None]) -> tuple[int, float]:
    effort, budget = asked
    return -1 if effort is None else EFFORTS.index(effort), math.inf if budget is None else budget


def efforts_table(found: Mapping[str, Mapping[str, Sequence[Point]]]) -> str:
    """Points of `efforts`, by model and problem set as a text: mean tokens of thinking and rates in percent, both with
    their 95% intervals in brackets."""
    cells = [["model", "problems", "effort", "budget", "thinking", "tokens", "pass@1"]]
    for model, sets in found.items():
        for name, points in sets.items():
            for point in points:
                low, high = point.get("thinking_ci95", (0, 0))
                thinking = f"{point['thinking']:.1f} [{low:.1f}, {high:.1f}]" if "thinking" in point else "-"
                cells.append([model, name, point["effort"] or "-", str(point["budget"] or "-"), thinking,
                              f"{point['tokens']:.1f}", _rate(point, "pass@1")])
    return "\n".join(_aligned(cells))


def lines(name: str, points: Sequence[Point]) -> list[str]:
    """A curve as a small table: rates in percent, with the 95% interval in brackets."""
    keys = [key for key in ("vote", "best", "rule") if any(point.get(key) is not None for point in points)]
    cells = [["k", "tokens", *keys]]
    for point in points:
        cells.append([str(point["k"]), f"{point['tokens']:.0f}", *(_rate(point, key) for key in keys)])
    return [f"{name}: accuracy against tokens", *_aligned(cells)]


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]


def _rate(point: Point, key: str) -> str:
    if point.get(key) is None:
        return "-"
    return with_interval(point[key], point[f"{key}_ci95"])
