"""The same two numbers as a set, a point, an interval, a ratio, a time, a date: each is right for itself alone."""

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.math import compare
from rewards.types import Label

digits = st.integers(1, 9)


def kinds(a: int, b: int) -> dict[str, list[str]]:
    """Spellings of what can be made of two numbers, by what they mean; a < b."""
    return {
        "set": [f"\\{{{a},{b}\\}}", f"\\{{{b}, {a}\\}}", f"x={a} \\text{{ or }} x={b}", f"x={b},{a}"],
        "point": [f"(x,y)=({a},{b})", f"x={a},y={b}", f"y={b}, x={a}", f"\\langle {a},{b}\\rangle",
                  f"\\begin{{pmatrix}}{a}\\\\{b}\\end{{pmatrix}}"],
        "other point": [f"(x,y)=({b},{a})", f"x={b} \\text{{ and }} y={a}", f"\\langle {b},{a}\\rangle"],
        "open": [f"{a}<x<{b}", f"x\\in({a},{b})", f"x>{a} \\text{{ and }} x<{b}", f"{b}>x>{a}"],
        "closed": [f"[{a},{b}]", f"{a}\\le x\\le {b}", f"x\\in[{a};{b}]"],
        "half open": [f"({a},{b}]", f"{a}<x\\le {b}", f"]{a},{b}]"],
        "outside": [f"(-\\infty,{a})\\cup({b},\\infty)", f"x<{a} \\text{{ or }} x>{b}"],
        "ratio": [f"{a}:{b}", f"{a} \\text{{ to }} {b}", f"\\frac{{{a}}}{{{b}}}", f"V_1:V_2={a}:{b}"],
        "other ratio": [f"{b}:{a}", f"\\frac{{{b}}}{{{a}}}", f"V_1:V_2={b}:{a}"],
        "decimal": [f"{a}.{b}", f"{a}.{b}0", f"x={a}.{b}"],
        "in hundreds": [f"{a}0{b}", f"x={a}0{b}"],
        "in thousands": [f"{a},00{b}", f"{a}{{,}}00{b}", f"{a}\\,00{b}", f"x={a}00{b}"],
        "list of thousands": [f"{a}, 10{b}", f"10{b}; {a}"],
        "time": [f"{a}:0{b} PM", f"{a + 12}:0{b}", f"{a}:0{b} \\text{{ p.m.}}"],
        "morning": [f"{a}:0{b} AM"],
        "date": [f"{a}/{b}/2024", f"0{a}/0{b}/2024", f"{a}.{b}.2024"],
        "other date": [f"{b}/{a}/2024", f"{b}-{a}-2024"],
        "range": [f"{a}0-{b}0"],
        "two pairs": [f"p={a},q={b};p={b},q={a}", f"({a},{b}),({b},{a})", f"({b},{a})or({a},{b})"],
    }  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(digits, digits)
def test_each_is_right_for_itself_alone(a: int, b: int) -> None:
    a, b = sorted((a, b))
    if a == b:
        return
    found = kinds(a, b)
    for spellings in found.values():
        for gold, answer in permutations(spellings, 2):
            assert compare(gold, answer).correct, (gold, answer)
    for one, other in permutations(found, 2):
        for gold in found[one]:
            for answer in found[other]:
                assert not compare(gold, answer).correct, (one, gold, other, answer)


@given(st.integers(1, 999), st.integers(0, 999), st.sampled_from(["{}, {}", "{} ,{}", "({},{})", "({}, {})", "[{},{}]",
       "{};{}", "\\{{{},{}\\}}", "{} \\text{{ and }} {}", "{} or {}", "\\langle {},{}\\rangle", "{}\n{}"]))  # fmt: skip
def test_a_separator_of_thousands_makes_no_list(first: int, rest: int, pattern: str) -> None:
    number, several = f"{first},{rest:03d}", pattern.format(first, f"{rest:03d}")
    assert compare(number, f"{first}{rest:03d}").correct
    for gold, answer in ((number, several), (several, number), (f"{first}{rest:03d}", several)):
        assert not compare(gold, answer).correct, (gold, answer)


@given(st.integers(1, 31), st.integers(1, 12), st.integers(1, 31), st.integers(1, 12), st.sampled_from("/-."))
def test_dates_are_equal_where_they_are_the_same(d: int, m: int, e: int, n: int, sign: str) -> None:
    for write in ("{1}{2}{0}{2}2024", "2024{2}{0:02d}{2}{1:02d}"):
        gold, answer = write.format(m, d, sign), write.format(n, e, sign)
        assert compare(gold, answer).correct == ((d, m) == (e, n))
    assert compare(f"{d}/{m}/2024", str(d / m / 2024)).label is Label.WRONG
