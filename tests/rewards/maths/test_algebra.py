"""Exact algebra: its laws, and its bounds."""

import math
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.maths.algebra import (
    Malformed,
    TooLarge,
    Unsupported,
    add,
    divide,
    multiply,
    negative,
    same,
)
from rewards.maths.parser import parse
from rewards.maths.reals import real_value

small = st.integers(-20, 20)


@st.composite
def expressions(draw: st.DrawFn) -> str:
    a, b, c, d = (draw(small) for _ in range(4))
    surd, name = draw(st.sampled_from([1, 2, 3, 8, 12])), draw(st.sampled_from(["x", "y", "π", "i"]))
    return f"({a}+{b}*\\sqrt{{{surd}}}+{c}*{name}*\\sqrt{{{surd}}}+{d}*{name}^2)"


@given(expressions(), expressions(), expressions())
def test_laws(first: str, second: str, third: str) -> None:
    a, b, c = parse(first), parse(second), parse(third)
    assert same(add(a, b), add(b, a))
    assert same(multiply(a, b), multiply(b, a))
    assert same(multiply(a, add(b, c)), add(multiply(a, b), multiply(a, c)))
    assert same(add(a, negative(a)), parse("0"))
    if b.over:
        assert same(multiply(divide(a, b), b), a)


@given(st.integers(0, 10**9))
def test_square_roots(n: int) -> None:
    value = parse(f"\\sqrt{{{n}}}")
    assert same(multiply(value, value), parse(str(n)))
    assert float(real_value(value)) == pytest.approx(math.sqrt(n))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2+3*4", 14), ("-2^2", -4), ("2^{-1}", Fraction(1, 2)), ("\\frac12", Fraction(1, 2)), ("1.25", Fraction(5, 4)),
        ("0.1\\overline{6}", Fraction(1, 6)), ("3!", 6), ("\\binom{5}{2}", 10), ("|-3|", 3), ("4 2/3", Fraction(14, 3)),
        ("8^{2/3}", 4), ("\\sqrt[3]{-27}", -3), ("(\\sqrt{2})^2", 2), ("i^2", -1), ("2(3)(4)", 24), ("1e3", 1000),
    ],
)  # fmt: skip
def test_values(text: str, value: Fraction | int) -> None:
    assert parse(text).constant == value


@pytest.mark.parametrize(
    "text", ["", "1 2", "2+", "(2", "2)", "1/0", "x 3", "2**", "{}", "^2", "\\frac{1}", "\\text{a}b"]
)
def test_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse(text)


@pytest.mark.parametrize("text", ["\\sin x", "\\sqrt{x}", "2^x", "\\sqrt[3]{2}"])
def test_unsupported(text: str) -> None:
    with pytest.raises(Unsupported):
        parse(text)


@pytest.mark.parametrize("text", ["9^{9^9}", "10^{1000000}", "100000!", "\\binom{10^9}{10^8}", "(2^{100000})^{100}"])
def test_bounds_come_first(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(TooLarge):
        parse(text)
    assert time.monotonic() - start < 0.5
