"""The decimal value of an exact number: to order the ends of intervals, and to see what a decimal may stand for."""

from decimal import Context, Decimal, DecimalException
from functools import lru_cache
from itertools import count

from rewards.maths.algebra import Ratio, Unsupported

GUARD = 25
"""Digits beyond those asked for, which sums of terms of opposite signs may lose."""


def real_value(a: Ratio, digits: int = 40) -> Decimal:
    """The value of a constant to about `digits` significant digits, or an infinity. Raises Unsupported for anything
    that is no real constant."""
    # A context of its own, since the one of the thread belongs to the caller; its exponents have room for large powers.
    context = Context(prec=digits + GUARD, Emax=10**9, Emin=-(10**9))
    values = []
    try:
        for terms in (a.over, a.under):
            total = Decimal(0)
            for (inside, imaginary, powers), value in terms.items():
                if imaginary:
                    raise Unsupported("not a real number")
                part = context.divide(Decimal(value.numerator), Decimal(value.denominator))
                part = context.multiply(part, context.sqrt(Decimal(inside))) if inside > 1 else part
                for name, exponent in powers:
                    part = context.multiply(part, context.power(_constant(name, digits + GUARD), exponent))
                total = context.add(total, part)
            values.append(total)
        return values[0] if values[1] == 1 else context.divide(values[0], values[1])
    except DecimalException as error:
        raise Unsupported("not a number") from error


@lru_cache(maxsize=16)
def _constant(name: str, digits: int) -> Decimal:
    match name:
        case "π":
            return Decimal(16 * _arctan(5, digits) - 4 * _arctan(239, digits)).scaleb(-digits - 5, Context(digits + 9))
        case "e":
            return Decimal(1).exp(Context(digits))
        case "∞":
            return Decimal("Infinity")
    raise Unsupported("not a number")


def _arctan(n: int, digits: int) -> int:
    """arctan(1/n) times 10 ** (digits + 5), by its series (Machin's formula needs n = 5 and n = 239)."""
    term: int = 10 ** (digits + 5) // n
    total = term
    for k in count(1):
        term //= n * n
        if not term:
            break
        total += -term // (2 * k + 1) if k % 2 else term // (2 * k + 1)
    return total
