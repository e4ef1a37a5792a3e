"""Times of day, and ratios of two whole numbers, which are written in the same way."""

import re
from fractions import Fraction
from math import gcd

from rewards.maths.kinds import Clock
from rewards.maths.scalars import Number

_CLOCK = re.compile(
    r"(\d+)\s*(?::|\\text\{to\}|to)\s*(\d+)\s*(?:\\text\{ ?([ap]\.? ?m\.?|hours?|h|o['’]clock) ?\}|([ap]\.? ?m\.?))?",
    re.IGNORECASE,
)
_HOUR = re.compile(r"(\d{1,2}) ?(?:(?:\\text ?\{)? ?([AaPp])\.? ?[Mm]\.? ?\}?|(?:\\text ?\{)? ?o['’]clock ?\}?)")


def clock(text: str) -> Clock | None:
    """A time of day or a ratio: 3:30, 3:30 pm, 2 to 3."""
    match = _CLOCK.fullmatch(text) if text[:1].isdigit() else None
    if match is None:
        return None
    unit = (match[3] or match[4] or "").casefold().replace(".", "").replace(" ", "")
    return Clock(int(match[1]), match[2], unit)


def full_hour(text: str) -> Clock | None:
    """A time of day without minutes: 3 pm, 3 o'clock."""
    match = _HOUR.fullmatch(text) if text[:1].isdigit() and not text[-1:].isdigit() else None
    if match is None or int(match[1]) > 24:
        return None
    return Clock(int(match[1]), "00", f"{match[2].lower()}m" if match[2] else "")


def clocks_agree(gold: Clock, given: Clock) -> bool:
    """Whether two times or ratios are the same. What only one says of the half of the day is forgiven."""
    if gold.unit and given.unit and gold.unit != given.unit:
        return False
    if (gold.first, gold.second) == (given.first, given.second):
        return True
    if bool(gold.unit) != bool(given.unit):
        # 3:30 pm is 15:30, and 12:30 am is 0:30.
        return len(gold.second) == len(given.second) == 2 and _minutes(gold) == _minutes(given)
    # 2:4 is the ratio 1:2, but 2:40 is a time and no ratio 1:20.
    timely = any(len(side.second) == 2 or side.unit for side in (gold, given))
    quotient = as_fraction(gold)
    return not timely and bool(quotient) and quotient == as_fraction(given)


def is_ratio_of(one: Clock, number: Number) -> bool:
    """Whether a number is the quotient that a ratio stands for."""
    if one.unit or number.unit or number.value is None:
        return False
    # A ratio is given in lowest terms, without zeros in front: 3:30 is a time and no tenth, and so is 1:05.
    timely = len(one.second) == 2 and int(one.second) < 60
    if timely and (one.second[0] == "0" or gcd(one.first, int(one.second)) != 1):
        return False
    ratio = as_fraction(one)
    return ratio is not None and number.value.constant == ratio


def _minutes(one: Clock) -> int:
    hours = one.first % 12 + 12 * (one.unit == "pm") if one.unit in ("am", "pm") else one.first
    return 60 * hours + int(one.second)


def as_fraction(one: Clock) -> Fraction | None:
    """The quotient of its two numbers, None where it has none."""
    return Fraction(one.first, int(one.second)) if int(one.second) else None
