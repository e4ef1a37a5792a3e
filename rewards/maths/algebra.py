"""Exact algebra: rational functions over the rationals with square roots, i and letters, where equality can be decided.

A polynomial is a dict from monomial to coefficient. A monomial is (squarefree n of its sqrt(n), power of i, powers of
letters). pi, e and infinity are letters: no relation between them is used, none is needed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

# Bounds that keep each operation to milliseconds, whatever a model writes: beyond them it raises TooLarge or
# Unsupported.
MOST_BITS = 200_000
MOST_TERMS = 300
LARGEST_FACTORIAL = 3_000
_SQUARES_UP_TO = 10**12

Monomial = tuple[int, int, tuple[tuple[str, int], ...]]
Terms = dict[Monomial, Fraction]
_ONE: Monomial = (1, 0, ())


class Unsupported(ValueError):
    """Not of this algebra, though it may have a value (a sine, a cube root of 2)."""


class Malformed(ValueError):
    """Has no value at all: a syntax error, or a division by zero."""


class TooLarge(ValueError):
    """Its value would be too large to compute."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Quotient of two polynomials; equal quotients may be written differently, so compare with `same`."""

    over: Terms
    under: Terms

    @property
    def constant(self) -> Fraction | None:
        """Its value where it is a rational number, else None."""
        if self.under.keys() != {_ONE} or not self.over.keys() <= {_ONE}:
            return None
        return self.over.get(_ONE, Fraction(0)) / self.under[_ONE]

    @property
    def letters(self) -> set[str]:
        """The letters in it, pi, e and infinity included."""
        return {name for terms in (self.over, self.under) for mono in terms for name, _ in mono[2]}


def rational(value: Fraction | int) -> Ratio:
    return Ratio({_ONE: Fraction(value)} if value else {}, {_ONE: Fraction(1)})


def letter(name: str) -> Ratio:
    if name == "i":
        return Ratio({(1, 1, ()): Fraction(1)}, {_ONE: Fraction(1)})
    return Ratio({(1, 0, ((name, 1),)): Fraction(1)}, {_ONE: Fraction(1)})


def add(a: Ratio, b: Ratio) -> Ratio:
    if a.under == b.under:
        return _tidy(_sum(a.over, b.over), a.under)
    return _tidy(_sum(_product(a.over, b.under), _product(b.over, a.under)), _product(a.under, b.under))


def negative(a: Ratio) -> Ratio:
    return Ratio({mono: -value for mono, value in a.over.items()}, a.under)


def multiply(a: Ratio, b: Ratio) -> Ratio:
    return _tidy(_product(a.over, b.over), _product(a.under, b.under))


def divide(a: Ratio, b: Ratio) -> Ratio:
    if not b.over:
        raise Malformed("division by zero")
    return _tidy(_product(a.over, b.under), _product(a.under, b.over))


def power(base: Ratio, exponent: Ratio) -> Ratio:
    """base ** exponent for a rational exponent whose denominator is 1 or 2, and for perfect powers."""
    n = exponent.constant
    if n is None:
        raise Unsupported("an exponent that is not a number")
    if n.denominator == 2:
        return _whole_power(square_root(base), n.numerator)
    # x^(1/3) of a perfect cube, for one.
    if n.denominator != 1:
        return _whole_power(root(base, n.denominator), n.numerator)
    return _whole_power(base, n.numerator)


def square_root(a: Ratio) -> Ratio:
    value = a.constant
    if value is None:
        raise Unsupported("a square root of an expression")
    if value < 0:
        return multiply(letter("i"), square_root(rational(-value)))
    if value == 0:
        return a
    # sqrt(p/q) = sqrt(p q) / q, so that one number is taken apart.
    number = value.numerator * value.denominator
    outside, inside = _square_part(number)
    return Ratio({(inside, 0, ()): Fraction(outside, value.denominator)}, {_ONE: Fraction(1)})


def root(a: Ratio, degree: int) -> Ratio:
    """The real root of a perfect power. Raises Unsupported for every other."""
    if degree == 2:
        return square_root(a)
    value = a.constant
    if value is None or not 2 <= degree <= 64 or (value < 0 and degree % 2 == 0):
        raise Unsupported("a root")
    parts = []
    for number in (abs(value.numerator), value.denominator):
        # Floats find the neighbourhood, integers decide; beyond 10^15 a float may be off by more than one.
        near = round(number ** (1 / degree)) if number < 10**15 else 0
        exact = next((n for n in (near - 1, near, near + 1) if n >= 0 and n**degree == number), None)
        if exact is None:
            raise Unsupported("a root that is no rational number")
        parts.append(exact)
    return rational(Fraction(parts[0] * (1 if value > 0 else -1), parts[1]))


def factorial(a: Ratio) -> Ratio:
    n = a.constant
    if n is None:
        raise Unsupported("a factorial of an expression")
    if n.denominator != 1 or n < 0:
        raise Unsupported("a factorial of no natural number")
    if n > LARGEST_FACTORIAL:
        raise TooLarge(f"{n}!" if n < 10**30 else "a huge factorial")
    return rational(math.factorial(int(n)))


def binomial(a: Ratio, b: Ratio) -> Ratio:
    n, k = a.constant, b.constant
    if n is None or k is None or n.denominator != 1 or k.denominator != 1 or n < 0 or k < 0:
        raise Unsupported("a binomial of an expression")
    if n > 100_000 or min(k, n - k) > 3_000:
        raise TooLarge("a huge binomial")
    return rational(math.comb(int(n), int(k)))


def same(a: Ratio, b: Ratio) -> bool:
    """Whether two quotients are equal wherever both are defined."""
    if a.under == b.under:
        return a.over == b.over
    # Cross-multiplied: no quotient has to be reduced, and none is divided by zero.
    return _product(a.over, b.under) == _product(b.over, a.under)


def proportional(a: Ratio, b: Ratio, *, positive: bool = False) -> bool:
    """Whether the equations a = 0 and b = 0 are the same up to a rational factor.

    With `positive` it is asked of inequalities, whose factor has to be positive. Raises Unsupported there where the
    denominators differ: what one is multiplied with may be negative, which turns it around.
    """
    over = _factor(a.over, b.over)
    # Of equations denominators are not looked at, since they do not change where a quotient is zero.
    if over is None or not positive:
        return over is not None
    under = _factor(a.under, b.under)
    if under is None:
        raise Unsupported("inequalities of different denominators")
    return over / under > 0


def _factor(p: Terms, q: Terms) -> Fraction | None:
    """The one factor between all terms; None where there is none."""
    if p.keys() != q.keys() or not p:
        return None
    first = next(iter(p))
    factor = p[first] / q[first]
    return factor if all(value == factor * q[mono] for mono, value in p.items()) else None


def _whole_power(base: Ratio, n: int) -> Ratio:
    value = base.constant
    if n < 0:
        return divide(rational(1), _whole_power(base, -n))
    if n == 0 and value == 0:
        raise Malformed("0^0")
    if value is not None:
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        # 1, 0 and -1 stay small whatever the exponent.
        if abs(value.numerator) > 1 or value.denominator > 1:
            if n > MOST_BITS or bits * n > MOST_BITS:
                raise TooLarge("a huge power")
            return rational(value**n)
        return rational(value ** (n % 2 + 2 * (n > 1)))
    if n > 64:
        raise TooLarge("a huge power of an expression") if n > 10_000 else Unsupported("a high power")
    result = rational(1)
    while n:
        if n & 1:
            result = multiply(result, base)
        base = multiply(base, base) if n > 1 else base
        n >>= 1
    return result


def _sum(a: Terms, b: Terms) -> Terms:
    total = dict(a)
    for mono, value in b.items():
        value += total.get(mono, Fraction(0))
        # No coefficient of zero is kept, so that equal polynomials are equal dicts.
        if value:
            total[mono] = value
        else:
            del total[mono]
    return total


def _product(a: Terms, b: Terms) -> Terms:
    if len(a) * len(b) > MOST_TERMS * 8:
        raise Unsupported("too many terms")
    total: Terms = {}
    for (surd_a, i_a, powers_a), value_a in a.items():
        for (surd_b, i_b, powers_b), value_b in b.items():
            # sqrt(a) sqrt(b) = g sqrt(a b / g^2), and i i = -1.
            common = math.gcd(surd_a, surd_b)
            value = value_a * value_b * common * (-1 if i_a and i_b else 1)
            mono = (surd_a * surd_b // common**2, i_a ^ i_b, _merged(powers_a, powers_b))
            value += total.get(mono, Fraction(0))
            if value:
                total[mono] = value
            else:
                total.pop(mono, None)
    if len(total) > MOST_TERMS:
        raise Unsupported("too many terms")
    return total


def _merged(a: tuple[tuple[str, int], ...], b: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    if not a or not b:
        return a or b
    powers = dict(a)
    for name, exponent in b:
        powers[name] = powers.get(name, 0) + exponent
    return tuple(sorted(powers.items()))


def _tidy(over: Terms, under: Terms) -> Ratio:
    """Small forms where they are cheap: a rational denominator becomes 1; a lone square root or i leaves it."""
    if any(max(v.numerator.bit_length(), v.denominator.bit_length()) > MOST_BITS for v in _values(over, under)):
        raise TooLarge("a huge number")
    if len(under) != 1:
        return Ratio(over, under)
    ((inside, imaginary, powers), value) = next(iter(under.items()))
    if inside > 1 or imaginary:
        # 1/sqrt(2) is sqrt(2)/2, and 1/i is -i.
        conjugate: Terms = {(inside, imaginary, ()): Fraction(1)}
        return _tidy(_product(over, conjugate), _product(under, conjugate))
    if powers:
        return Ratio(over, under)
    return Ratio({mono: v / value for mono, v in over.items()}, {_ONE: Fraction(1)})


def _values(*groups: Terms) -> Iterable[Fraction]:
    for terms in groups:
        yield from terms.values()


def _square_part(number: int) -> tuple[int, int]:
    """(a, b) with number = a * a * b and b squarefree."""
    exact = math.isqrt(number)
    if exact * exact == number:
        return exact, 1
    # Trial division up to the cube root of this takes a few milliseconds.
    if number > _SQUARES_UP_TO:
        raise Unsupported("a square root of a large number")
    outside, factor = 1, 2
    rest, free = number, 1
    while factor**3 <= rest:
        count = 0
        while rest % factor == 0:
            rest //= factor
            count += 1
        outside *= factor ** (count // 2)
        free *= factor ** (count % 2)
        factor += 1
    exact = math.isqrt(rest)
    # No factor up to its cube root is left: a square, or squarefree.
    return (outside * exact, free) if exact * exact == rest else (outside, free * rest)
