"""Any two forms of one surd or region agree, whichever is the gold; forms of different ones never do."""

from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from rewards.math import compare

whole = st.integers(-50, 50)
ends = st.fractions(min_value=-20, max_value=20, max_denominator=12)


def surd_forms(a: int, b: int, root: int, k: int) -> list[str]:
    """a + b√root, with b > 0."""
    return [
        f"{a}+{b}\\sqrt{{{root}}}",
        f"{b}\\sqrt{{{root}}}+{a}" if a >= 0 else f"{b}\\sqrt{{{root}}}-{-a}",
        f"{a} + \\sqrt{{{b * b * root}}}",
        f"\\frac{{{a * k}+{b * k}\\sqrt{root}}}{{{k}}}",
        f"x={a}+{b}*sqrt({root})",
        f"{a}+\\frac{{{b * root}}}{{\\sqrt{{{root}}}}}",
    ]


@given(whole, st.integers(1, 30), st.sampled_from([2, 3, 5, 6, 7, 10, 11, 13]), st.integers(2, 9))
def test_forms_of_one_surd_agree(a: int, b: int, root: int, k: int) -> None:
    first, *others = surd_forms(a, b, root, k)
    for other in others:
        assert compare(first, other).correct, (first, other)
        assert compare(other, first).correct, (other, first)


@given(whole, whole, st.integers(1, 30), st.integers(1, 30), st.sampled_from([2, 3, 5, 6, 7, 10]), st.integers(2, 9))
def test_forms_of_different_surds_do_not(a: int, c: int, b: int, d: int, root: int, k: int) -> None:
    assume((a, b) != (c, d))
    for first, second in zip(surd_forms(a, b, root, k), surd_forms(c, d, root, k), strict=True):
        assert not compare(first, second).correct, (first, second)


def region_forms(low: Fraction, high: Fraction, closed: tuple[bool, bool]) -> list[str]:
    left, right = "≤" if closed[0] else "<", "≤" if closed[1] else "<"
    back = {"<": ">", "≤": "\\ge"}
    a, b = f"\\frac{{{low.numerator}}}{{{low.denominator}}}", f"{high.numerator}/{high.denominator}"
    opening, ending = "[" if closed[0] else "(", "]" if closed[1] else ")"
    return [
        f"{opening}{a},{b}{ending}",
        f"\\left{opening} {a}, {b} \\right{ending}",
        f"x\\in{opening}{a};{b}{ending}",
        f"{a}{left}x{right}{b}",
        f"{b} {back[right]} x {back[left]} {a}",
        f"x {back[left]} {a} \\text{{ and }} x {right} {b}",
        f"\\{{x \\mid {a} {left} x {right} {b}\\}}",
        f"{opening if closed[0] else ']'}{a},{b}{ending if closed[1] else '['}",
    ]


@given(ends, ends, st.tuples(st.booleans(), st.booleans()))
def test_forms_of_one_region_agree(low: Fraction, high: Fraction, closed: tuple[bool, bool]) -> None:
    assume(low < high)
    first, *others = region_forms(low, high, closed)
    for other in others:
        assert compare(first, other).correct, (first, other)
        assert compare(other, first).correct, (other, first)


@given(ends, ends, ends, st.tuples(st.booleans(), st.booleans()), st.tuples(st.booleans(), st.booleans()))
def test_forms_of_different_regions_do_not(
    low: Fraction, high: Fraction, other: Fraction, closed: tuple[bool, bool], closed_other: tuple[bool, bool]
) -> None:
    assume(low < high and low < other and (high, closed) != (other, closed_other))
    for first in region_forms(low, high, closed):
        for second in region_forms(low, other, closed_other):
            assert not compare(first, second).correct, (first, second)
