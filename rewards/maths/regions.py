"""Intervals, their unions, and the inequalities that say the same."""

import re
from dataclasses import dataclass

from rewards.maths.algebra import Malformed, Ratio, Unsupported, negative, real_value, same
from rewards.maths.brackets import split
from rewards.maths.parser import parse


@dataclass(frozen=True, slots=True)
class Span:
    """One interval; `closed` tells of its two ends."""

    low: Ratio
    high: Ratio
    closed: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Region:
    """A union of intervals and points, sorted and merged."""

    spans: tuple[Span, ...]


def interval(text: str) -> list[Span]:
    text = text.strip()
    if text in ("\\mathbb{R}", "\\mathbb {R}", "\\mathbb R"):
        return [Span(_minus_infinity(), parse("∞"), (False, False))]
    if text.startswith("⦃"):
        points = [parse(part) for part in split(text[1:-1], ",")]
        return [Span(point, point, (True, True)) for point in points]
    ends = split(text[1:-1], ",")
    if len(ends) != 2 or text[0] not in "([" or text[-1] not in ")]":
        raise Malformed("no interval")
    return [Span(parse(ends[0]), parse(ends[1]), (text[0] == "[", text[-1] == "]"))]


def _minus_infinity() -> Ratio:
    return negative(parse("∞"))


def inequalities(text: str) -> Region:
    if "\\text" in text:
        text = re.sub(r"\\text\s*\{\s*(or|and)\s*\}", r" \1 ", text)
    return union([_inequality(part) for part in re.split(r"\s+or\s+", text)])


def _inequality(text: str) -> list[Span]:
    """`0 < x <= 1`, `x > 3`, and several joined by "and" or a comma, as their common part."""
    clauses = [c for piece in re.split(r"\s+and\s+", text) for c in split(piece, ",")]
    low, high, closed = _minus_infinity(), parse("∞"), (False, False)
    names: set[str] = set()
    bounded: set[bool] = set()
    for clause in clauses:
        sides = re.split(r"([<>≤≥])", clause)
        middles = [i for i in range(0, len(sides), 2) if re.fullmatch(r"\s*\\?[A-Za-z](?:_\{?\w\}?)?\s*", sides[i])]
        if len(sides) not in (3, 5) or len(middles) != 1 or (len(sides) == 5 and middles != [2]):
            raise Unsupported("an inequality of another shape")
        names.add(sides[middles[0]].strip())
        if len(sides) == 5 and (sides[1] in "<≤") != (sides[3] in "<≤"):
            raise Malformed("an inequality in two directions")
        for at in range(1, len(sides), 2):
            bound_left = at - 1 != middles[0]
            bound = parse(sides[at - 1 if bound_left else at + 1])
            below = (sides[at] in "<≤") == bound_left
            if below in bounded:
                raise Unsupported("two bounds on one side")
            bounded.add(below)
            if below:
                low, closed = bound, (sides[at] in "≤≥", closed[1])
            else:
                high, closed = bound, (closed[0], sides[at] in "≤≥")
    if len(names) != 1 or (len(clauses) > 1 and len(clauses) != 2):
        raise Unsupported("an inequality in several letters")
    return [Span(low, high, closed)]


def union(parts: list[list[Span]]) -> Region:
    """Sorted, with what overlaps or touches merged; ends are compared exactly and ordered by their values."""
    spans = sorted((s for part in parts for s in part), key=lambda s: (real_value(s.low), not s.closed[0]))
    merged: list[Span] = []
    for span in spans:
        low, high = real_value(span.low), real_value(span.high)
        point = same(span.low, span.high)
        if low > high or (point and span.closed != (True, True)):
            raise Malformed("an empty interval")
        last = merged[-1] if merged else None
        touching = last is not None and (
            real_value(last.high) > low or (same(last.high, span.low) and (last.closed[1] or span.closed[0]))
        )
        if last is None or not touching:
            merged.append(span)
            continue
        if same(last.high, span.high):
            merged[-1] = Span(last.low, last.high, (last.closed[0], last.closed[1] or span.closed[1]))
        elif real_value(last.high) < high:
            merged[-1] = Span(last.low, span.high, (last.closed[0], span.closed[1]))
    return Region(tuple(merged))
