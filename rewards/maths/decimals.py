"""What a decimal may stand for: itself, or a number that no decimal can write, given to six digits or more."""

import math
from fractions import Fraction

from rewards.maths.algebra import Ratio, Unsupported, real_value, same

ENOUGH_DIGITS = 6


def equal(a: Ratio, digits_of_a: int | None, b: Ratio, digits_of_b: int | None) -> bool:
    """Whether two values are equal, exactly or, where just one is written as a decimal, to the digits given."""
    if same(a, b):
        return True
    if (digits_of_a is None) == (digits_of_b is None):
        return False
    exact, decimal, digits = (b, a, digits_of_a) if digits_of_b is None else (a, b, digits_of_b)
    return digits is not None and digits >= ENOUGH_DIGITS and _rounds_to(exact, decimal, digits)


def _rounds_to(exact: Ratio, decimal: Ratio, digits: int) -> bool:
    """Whether `decimal` gives an exact number, which no decimal can, to the digits that it has, rounded or cut off."""
    near = decimal.constant
    if near is None or near == 0:
        return False
    value = exact.constant
    if value is not None:
        rest = value.denominator
        for prime in (2, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return False  # a decimal could write it in full, so this one does not mean it
        last = _last_place(near, digits)
        return abs(value - near) < last
    try:
        number = real_value(exact)
    except (Unsupported, OverflowError):
        return False
    if digits > 14 or not math.isfinite(number):
        return False
    return abs(number - float(near)) < float(_last_place(near, digits)) * 1.0000001


def _last_place(near: Fraction, digits: int) -> Fraction:
    """What one unit of the last of so many significant digits is worth."""
    exponent, size = 0, abs(near)
    while size >= 10:
        size, exponent = size / 10, exponent + 1
    while size < 1:
        size, exponent = size * 10, exponent - 1
    return Fraction(10) ** (exponent - digits + 1)
