"""From graded rollouts to numbers: `reduce` for a model on a problem set, `difference` between two models."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any  # what a row or a report holds under a name is JSON

from eval.metrics import Estimate, average, best_of_k, maj_at_k, mean_of, paired_difference, pass_at_k, share
from rewards.types import Label

Row = Mapping[str, Any]
Numbers = dict[str, Any]

DIGITS = 6  # after the point, in a report
LONGEST_NUMBER = 1000
"""Characters of an answer that is taken for a number; Python makes none of more than a few thousand digits."""
FEW = 12  # values of a key in meta, above which a table by it would not be read
_AT_MANY = re.compile(r"(pass|maj|best)@(?!1$)\d+")
_PLAIN_NUMBER = re.compile(r"[-+]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?|[-+]?\d+/[1-9]\d*")


def reduce(rows: Iterable[Row]) -> Numbers:
    """The report numbers of one model on one problem set, from one row a rollout (see eval.rollouts).

    Per problem the rates come first, over its rollouts that could be graded; the score is the mean over
    problems, each of the same weight, so it does not move with the number of rollouts. Keys:

    n, rollouts           problems; rollouts of each (the fewest that any problem has)
    pass@1, pass@1_ci95   share of correct rollouts; [low, high] clustered by problem (eval.metrics.share)
    pass@K, maj@K         for K = rollouts > 1, each with its _ci95. Of a problem's K rollouts the ungradable ones
                          count as not correct in pass@K and do not vote in maj@K (ties: see eval.metrics.maj_at_k)
    best@K                of K rollouts the one with the highest `best_by` (see eval.choosing), with its _ci95, where
                          all rows have that; ungradable ones are not chosen
    flexible              pass@1 by the lenient reading (rewards.flexible), with its _ci95, where the rows have it; None
                          where nothing could be graded
    format, readable      share of all rollouts, correct or not
    readable_of_correct   share of the correct rollouts, with its _ci95; None where none is correct
    mean_length           generated tokens per rollout
    thinking              of these, tokens before the end of the thinking: the mean over problems of their means, with
                          its _ci95, where the rows have it
    tokens_per_correct    tokens generated for each correct answer, wrong answers' tokens included, problems of
                          the same weight; None where none is correct
    unfinished            share of all rollouts that their token budget ended, whatever the verdict on what they had
                          said by then; None where rows do not tell
    no_answer, truncated, ungradable
                          shares of all rollouts by verdict (truncated: unfinished and without an answer); ungradable
                          ones leave the denominator of pass@1
    left_out              problems with no gradable rollout, in no score; the scores are None if all are
    by                    pass@1 by what the problems' meta tells, where it tells anything (see `by_meta`)

    Raises ValueError where there are no rows.
    """
    problems = by_problem(rows)
    if not problems:
        raise ValueError("no rollouts to report on")
    gradable = [graded for graded in map(_gradable, problems.values()) if graded]
    every = [row for found in problems.values() for row in found]
    # pass@k of the fewest that every problem has, so that all are drawn alike.
    k = min(len(found) for found in problems.values())
    numbers: Numbers = {"n": len(problems), "rollouts": k, **_scores(gradable, k)}
    if all("flexible" in row for row in every):
        numbers |= _flexible(gradable)
    numbers["format"] = _mean(bool(row["format"]) for row in every)
    numbers["readable"] = _mean(bool(row["readable"]) for row in every)
    numbers |= _readable_of_correct(gradable)
    numbers["mean_length"] = _mean(row["tokens"] for row in every)
    if all("thinking" in row for row in every):
        numbers |= _thinking(list(problems.values()))
    numbers["tokens_per_correct"] = _tokens_per_correct(gradable)
    numbers["unfinished"] = unfinished(every)
    for label in (Label.NO_ANSWER, Label.TRUNCATED, Label.UNGRADABLE):
        numbers[label.value] = _mean(row["verdict"] == label for row in every)
    numbers["left_out"] = len(problems) - len(gradable)
    by = by_meta(every)
    return {**numbers, "by": by} if by else numbers


def together(earlier: Numbers, later: Numbers) -> Numbers:
    """What two reports say of a model; of a set, or of its efforts, that both have what the later one says."""
    keys = ("problems", "protocol", *({"efforts"} & (earlier.keys() | later.keys())))
    return {**earlier, **later, **{key: {**earlier.get(key, {}), **later.get(key, {})} for key in keys}}


def by_meta(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """pass@1 for each number that the problems' meta tells (such as the length and depth of a needle), and for each
    pair of numbers of two such keys; keys with one number, or more than `FEW`, are left out, and a problem that tells
    something else there is in none of that key's cells."""
    scored = [
        ({key: value for key, value in row.get("meta", {}).items() if isinstance(value, int | float)}, rate)
        for row, rate in _first_rows(rows)
    ]
    values: dict[str, set[Any]] = {}
    for meta, _ in scored:
        for key, value in meta.items():
            values.setdefault(key, set()).add(value)
    # With one value there is nothing to compare, and with very many no cell holds enough problems.
    keys = [key for key, found in values.items() if 1 < len(found) <= FEW]
    table: dict[str, dict[str, float]] = {}
    for chosen in [*((key,) for key in keys), *combinations(keys, 2)]:
        # By value: 0 and 0.0 are one cell, called as the first of them is.
        cells: dict[tuple[float, ...], list[float]] = {}
        for meta, rate in sorted(scored, key=lambda one: [one[0].get(key, 0) for key in chosen]):
            if all(key in meta for key in chosen):
                cells.setdefault(tuple(meta[key] for key in chosen), []).append(rate)
        table[" ".join(chosen)] = {" ".join(map(str, cell)): _mean(found) for cell, found in cells.items()}
    return table


def _first_rows(rows: Iterable[Row]) -> list[tuple[Row, float]]:
    """One row of each problem that could be graded, with its share of correct rollouts."""
    problems = by_problem(rows)
    scores = rates([row for found in problems.values() for row in found])
    return [(found[0], scores[id_]) for id_, found in problems.items() if id_ in scores]


def by_problem(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows of each problem, problems and rows in the order of their first appearance."""
    problems: dict[str, list[Row]] = {}
    for row in rows:
        problems.setdefault(row["problem"], []).append(row)
    return problems


def rates(rows: Iterable[Row]) -> dict[str, float]:
    """Share of correct rollouts by problem id; problems with no gradable rollout are absent."""
    graded = {id_: _gradable(found) for id_, found in by_problem(rows).items()}
    return {id_: _correct(found) / len(found) for id_, found in graded.items() if found}


def difference(rows_a: Iterable[Row], rows_b: Iterable[Row]) -> Estimate:
    """pass@1 of a less that of b, paired by problem id, with its 95% interval.

    Raises ComparisonError where they share fewer than two problems.
    """
    return paired_difference(rates(rows_a), rates(rows_b))


def mean_of_sets(sets: Mapping[str, Mapping[str, Any]]) -> Numbers | None:
    """Mean of pass@1 over problem sets, each of the same weight, and of what else they share; None without a
    score.

    `sets` maps a set's name to what `reduce` gave. pass@K, maj@K and best@K are there where every set has the same K.
    """
    scored = [numbers for numbers in sets.values() if numbers.get("pass@1") is not None]
    # A mean over the sets that happened to be measured would be another number under the same name.
    if not scored or len(scored) < len(sets):
        return None
    found = mean_of([Estimate(s["pass@1"], s["pass@1_ci95"][0], s["pass@1_ci95"][1], s["n"]) for s in scored])
    numbers: Numbers = {"sets": list(sets), "pass@1": round(found.mean, DIGITS), "pass@1_ci95": _pair(found)}
    for key in scored[0]:
        if _AT_MANY.fullmatch(key) and all(key in other for other in scored):
            numbers[key] = _mean(other[key] for other in scored)
    return numbers


def vote_of(row: Row) -> Fraction | str | None:
    """The candidate that a rollout votes for in maj@k, or None where it abstains.

    It must not know the right answer, so it is the extracted text: plain numbers by value ("1,000" and
    "1000.0" are one candidate), anything else letter by letter but for white space.
    """
    text = row["extracted"]
    # A rollout that ran out of tokens came to no answer, whatever was extracted from its thinking.
    if text is None or row["verdict"] in (Label.NO_ANSWER, Label.TRUNCATED):
        return None
    plain = str(text).strip()
    # 1,000 and 1000 are one candidate.
    short = plain.isascii() and plain[-1:].isdigit() and len(plain) <= LONGEST_NUMBER
    if short and _PLAIN_NUMBER.fullmatch(plain):
        return Fraction(plain.replace(",", ""))
    return " ".join(plain.split())


def unfinished(rows: Iterable[Row]) -> float | None:
    """The share of rollouts that their token budget ended; None where there are none, or one does not tell."""
    ends = [row.get("finished") for row in rows]
    return None if None in ends or not ends else _mean(not end for end in ends)


def _gradable(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["verdict"] != Label.UNGRADABLE]


def _scores(problems: Sequence[Sequence[Row]], k: int) -> Numbers:
    if not problems:
        keys = ["pass@1", *([f"pass@{k}", f"maj@{k}"] if k > 1 else [])]
        return dict.fromkeys(name for key in keys for name in (key, f"{key}_ci95"))
    scores = _with_interval("pass@1", [_correct(rows) / len(rows) for rows in problems])
    if k > 1:
        # Ungradable rollouts leave a problem with fewer; they count as tries that failed.
        at_k = [pass_at_k(max(len(rows), k), _correct(rows), k) for rows in problems]
        scores |= _with_interval(f"pass@{k}", at_k)
        scores |= _with_interval(f"maj@{k}", [_majority(rows, k) for rows in problems])
        if all("best_by" in row for rows in problems for row in rows):
            scores |= _with_interval(f"best@{k}", [_chosen(rows, k) for rows in problems])
    return scores


def _flexible(problems: Sequence[Sequence[Row]]) -> Numbers:
    if not problems:
        return {"flexible": None, "flexible_ci95": None}
    correct = [[row["flexible"] == Label.CORRECT for row in rows] for rows in problems]
    return _with_interval("flexible", [sum(one) / len(one) for one in correct])


def _with_interval(name: str, values: Sequence[float]) -> Numbers:
    found = share(values)
    return {name: round(found.mean, DIGITS), f"{name}_ci95": _pair(found)}


def _tokens_per_correct(problems: Sequence[Sequence[Row]]) -> float | None:
    # Problem by problem, so that one with more rollouts does not weigh more.
    correct = sum(_correct(rows) / len(rows) for rows in problems)
    tokens = sum(sum(row["tokens"] for row in rows) / len(rows) for rows in problems)
    return round(tokens / correct, DIGITS) if correct else None


def _majority(rows: Sequence[Row], k: int) -> float:
    correct = [row["verdict"] == Label.CORRECT for row in rows]
    return maj_at_k([vote_of(row) for row in rows], correct, min(k, len(rows)))


def _chosen(rows: Sequence[Row], k: int) -> float:
    correct = [row["verdict"] == Label.CORRECT for row in rows]
    return best_of_k([row["best_by"] for row in rows], correct, min(k, len(rows)))


def _thinking(problems: Sequence[Sequence[Row]]) -> Numbers:
    found = average([sum(row["thinking"] for row in rows) / len(rows) for rows in problems])
    return {"thinking": round(found.mean, DIGITS), "thinking_ci95": _pair(found)}


def _readable_of_correct(problems: Sequence[Sequence[Row]]) -> Numbers:
    correct = [[row for row in rows if row["verdict"] == Label.CORRECT] for rows in problems]
    correct = [rows for rows in correct if rows]
    if not correct:
        return {"readable_of_correct": None, "readable_of_correct_ci95": None}
    readable = [sum(bool(row["readable"]) for row in rows) / len(rows) for rows in correct]
    found = share(readable, [len(rows) for rows in correct])
    return {"readable_of_correct": round(found.mean, DIGITS), "readable_of_correct_ci95": _pair(found)}


def _correct(rows: Sequence[Row]) -> int:
    return sum(row["verdict"] == Label.CORRECT for row in rows)


def _mean(values: Iterable[float]) -> float:
    held = list(values)
    return round(sum(held) / len(held), DIGITS)


def _pair(estimate: Estimate) -> list[float]:
    return [round(estimate.low, DIGITS), round(estimate.high, DIGITS)]
