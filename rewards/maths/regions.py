"""Intervals, their unions, and the inequalities that say the same."""

import re
from dataclasses import dataclass, replace
from functools import reduce

from rewards.maths.algebra import (
    Malformed,
    Ratio,
    Unsupported,
    add,
    divide,
    letter,
    multiply,
    negative,
    rational,
    same,
)
from rewards.maths.brackets import split
from rewards.maths.parser import parse
from rewards.maths.reals import real_value

REALS = ("\\mathbb{R}", "\\mathbb {R}", "\\mathbb R", "ℝ")
_CONSTANTS = {"π", "e", "∞"}
_OPPOSITE = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
_POINT = re.compile(r"\s*([a-z])\s*([=≠])([^=≠<>≤≥]+)")
_ABSOLUTE = re.compile(r"\s*\|([^|]*)\|\s*")


@dataclass(frozen=True, slots=True)
class Span:
    """One interval; `closed` tells of its two ends."""

    low: Ratio
    high: Ratio
    closed: tuple[bool, bool]


@dataclass(frozen=True, slots=True)
class Region:
    """A union of intervals and points, sorted and merged; `name` is the letter that an inequality bounds."""

    spans: tuple[Span, ...]
    name: str = ""


_HIGHEST = parse("∞")
_LOWEST = negative(_HIGHEST)
_ALL = Span(_LOWEST, _HIGHEST, (False, False))


def interval(text: str) -> list[Span]:
    """The spans of one interval, a set of points, or one of these without a set of points.

    Raises Malformed or Unsupported where the text is none of them.
    """
    text = text.strip()
    if text in REALS:
        return [_ALL]
    if "∖" in text:
        whole, *others = split(text, "∖")
        without = others[0].strip() if len(others) == 1 else ""
        if not without.startswith("⦃"):
            raise Unsupported("a difference of intervals")
        # What is taken away is a set of points; the rest is what all of "all but this one" have in common.
        return reduce(_common, [except_for(point.low) for point in interval(without)], interval(whole))
    if text.startswith("⦃"):
        points = [parse(part) for part in split(text[1:-1], ",")]
        return [Span(point, point, (True, True)) for point in points]
    ends = split(text[1:-1], ",;")
    if len(ends) != 2 or text[0] not in "([" or text[-1] not in ")]":
        raise Malformed("no interval")
    return [Span(parse(ends[0]), parse(ends[1]), (text[0] == "[", text[-1] == "]"))]


def except_for(point: Ratio) -> list[Span]:
    """All real numbers but one."""
    return [Span(_LOWEST, point, (False, False)), Span(point, _HIGHEST, (False, False))]


def inequalities(text: str) -> Region:
    """What `0 < x <= 1`, `|x| > 1`, `2x > 6 or x < 0` bound their one letter to, as far as they are linear in it."""
    names: set[str] = set()
    regions = []
    for alternative in re.split(r"\s+or\s+", text):
        # "or" joins, "and" and a comma narrow, and "and" binds the closer, as it is said.
        clauses = [clause for piece in re.split(r"\s+and\s+", alternative) for clause in split(piece, ",")]
        regions.append(reduce(_common, [part for clause in clauses for part in _bounds(clause, names)]))
    if len(names) != 1:
        raise Unsupported("an inequality in several letters")
    return replace(union(regions), name=names.pop())


def _bounds(clause: str, names: set[str]) -> list[list[Span]]:
    """The bounds that a chain of at most two relations sets; the letter goes into `names`."""
    if point := _POINT.fullmatch(clause):
        names.add(point[1])
        value = parse(point[3])
        return [except_for(value) if point[2] == "≠" else [Span(value, value, (True, True))]]
    sides = re.split(r"([<>≤≥])", clause)
    if len(sides) not in (3, 5):
        raise Unsupported("an inequality of another shape")
    if len(sides) == 5 and (sides[1] in "<≤") != (sides[3] in "<≤"):
        raise Malformed("an inequality in two directions")
    found = []
    for at in range(1, len(sides), 2):
        left, relation, right = sides[at - 1 : at + 2]
        if _ABSOLUTE.fullmatch(right):
            # 3 > |x| is |x| < 3.
            left, relation, right = right, _OPPOSITE[relation], left
        absolute = _ABSOLUTE.fullmatch(left)
        if absolute is None:
            found.append(_linear(parse(left), relation, parse(right), names))
            continue
        size, bound = parse(absolute[1]), parse(right)
        if real_value(bound) < 0:
            raise Unsupported("an absolute value below zero")
        # |s| < b says that s is below b and above -b; |s| > b that it is one of the two.
        above = _linear(size, _OPPOSITE[relation], negative(bound), names)
        below = _linear(size, relation, bound, names)
        found.append(_common(above, below) if relation in "<≤" else [*above, *below])
    return found


def _linear(left: Ratio, relation: str, right: Ratio, names: set[str]) -> list[Span]:
    """The bound on its one letter that `left relation right` sets."""
    # Infinity on the right, where it is looked at.
    if "∞" in left.letters:
        left, relation, right = right, _OPPOSITE[relation], left
    endless = "∞" in right.letters
    # Infinity cannot be subtracted.
    difference = left if endless else add(left, negative(right))
    letters = difference.letters - _CONSTANTS
    if len(letters) != 1:
        raise Unsupported("an inequality in several letters")
    name = letters.pop()
    terms = {mono: value for mono, value in difference.over.items() if name in dict(mono[2])}
    slope = terms.get((1, 0, ((name, 1),)), 0)
    # Nothing but slope * name may hold the name, and nothing may be divided by an expression.
    if len(terms) != 1 or not slope or difference.under != rational(1).over:
        raise Unsupported("an inequality that is not linear")
    names.add(name)
    if endless:
        # x < ∞ says nothing of x; x < -∞ and x ≤ ∞ say what cannot be.
        if not same(right, _HIGHEST if relation == "<" else _LOWEST) or relation in "≤≥":
            raise Malformed("beyond infinity")
        return [_ALL]
    bound = divide(add(difference, multiply(rational(-slope), letter(name))), rational(-slope))
    closed = relation in "≤≥"
    if (relation in "<≤") == (slope > 0):
        return [Span(_LOWEST, bound, (False, closed))]
    return [Span(bound, _HIGHEST, (closed, False))]


def _common(a: list[Span], b: list[Span]) -> list[Span]:
    """What two unions have in common. Raises Malformed where that is nothing."""
    spans = []
    for s in a:
        for t in b:
            low, low_closed = _inner((s.low, s.closed[0]), (t.low, t.closed[0]), highest=True)
            high, high_closed = _inner((s.high, s.closed[1]), (t.high, t.closed[1]), highest=False)
            if same(low, high):
                # Two ends that meet have one point in common, if both intervals hold it.
                if low_closed and high_closed:
                    spans.append(Span(low, high, (True, True)))
            elif real_value(low) < real_value(high):
                spans.append(Span(low, high, (low_closed, high_closed)))
    if not spans:
        raise Malformed("an empty interval")
    return spans


def _inner(a: tuple[Ratio, bool], b: tuple[Ratio, bool], *, highest: bool) -> tuple[Ratio, bool]:
    """The stricter of two ends, each given with whether it is closed."""
    if same(a[0], b[0]):
        return a[0], a[1] and b[1]
    return a if (real_value(a[0]) > real_value(b[0])) == highest else b


def union(parts: list[list[Span]]) -> Region:
    """Sorted, with what overlaps or touches merged; ends are compared exactly and ordered by their values."""
    spans = sorted((s for part in parts for s in part), key=lambda s: (real_value(s.low), not s.closed[0]))
    merged: list[Span] = []
    for span in spans:
        low, high = real_value(span.low), real_value(span.high)
        point = same(span.low, span.high)
        # [3, 3] is a point; (3, 3] holds nothing.
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
