"""What a decimal may stand for: itself, or a number that no decimal can write, given to six digits or more."""

from decimal import Decimal
from fractions import Fraction
from math import floor

from rewards.maths.algebra import Ratio, Unsupported, same
from rewards.maths.reals import real_value

ENOUGH_DIGITS = 6
"""Significant digits that a decimal needs to stand for a number such as 1/3: 0.333 may be a guess."""

MOST_DIGITS = 300
"""Digits beyond which a decimal stands for itself alone, since the other side would have to be computed to as many."""



def equal(a: Ratio, digits_of_a: int | None, b: Ratio, digits_of_b: int | None) -> bool:
    """Whether two values are equal, exactly or, where just one is written as a decimal, to the digits given."""
    if same(a, b):
        return True
    digits = decimal_digits(digits_of_a, digits_of_b)
    if not digits:
        return False
    exact, decimal = (b, a) if digits_of_b is None else (a, b)
    return _rounds_to(exact, decimal.constant, digits)


def decimal_digits(digits_of_a: int | None, digits_of_b: int | None) -> int:
    """The digits to which two values need only agree: those of the one decimal among them. 0 where they have to be
    equal exactly."""
    # Two decimals are compared exactly, and so are two numbers of which neither is written as one.
    if (digits_of_a is None) == (digits_of_b is None):
        return 0
    digits = (digits_of_a or 0) + (digits_of_b or 0)
    return digits if ENOUGH_DIGITS <= digits <= MOST_DIGITS else 0


def _rounds_to(exact: Ratio, near: Fraction | None, digits: int) -> bool:
    """Whether `near` is an exact number, which no decimal can write, rounded or cut off to so many digits."""
    if not near:
        return False
    unit = _last_place(near, digits)
    size = exact.constant
    if size is not None:
        rest = size.denominator
        for prime in (2, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return False  # a decimal could write it in full, so this one does not mean it
    else:
        try:
            value = real_value(exact, digits)
        except Unsupported:
            return False
        # Far apart is told by the exponents, before 10^(10^9) is written out as a fraction.
        if not value.is_finite() or abs(value.adjusted() - _magnitude(near)) > 1:
            return False
        size = Fraction(value)
    if (size < 0) != (near < 0):
        return False
    # 2/3 may be cut off (0.666666) or rounded (0.666667).
    places = abs(size) / unit
    return abs(near) / unit in (floor(places), floor(places + Fraction(1, 2)))


def _magnitude(near: Fraction) -> int:
    return (Decimal(near.numerator) / Decimal(near.denominator)).adjusted()


def _last_place(near: Fraction, digits: int) -> Fraction:
    """What one unit of the last of so many significant digits is worth."""
    return Fraction(10) ** (_magnitude(near) - digits + 1)
