"""Two tables of answers: pairs that are the same and pairs that are not, in both orders of the arguments."""

from pathlib import Path

import pytest

from rewards.math import compare
from rewards.maths import decision
from rewards.types import Label

HERE = Path(__file__).parent


def pairs(name: str) -> list[tuple[str, str]]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [(gold, answer) for gold, _, answer in (line.partition(" | ") for line in lines)]


def test_what_is_the_same_is_correct_whichever_is_the_gold() -> None:
    found = [(g, a, compare(g, a)) for pair in pairs("equal.txt") for g, a in (pair, pair[::-1])]
    assert [row for row in found if not row[2].correct] == []


def test_what_differs_is_wrong() -> None:
    found = [(g, a, compare(g, a)) for g, a in pairs("different.txt")]
    assert [row for row in found if row[2].label is not Label.WRONG] == []


def test_what_differs_is_never_correct_the_other_way_round() -> None:
    # A gold percentage takes the number before its sign, and a gold base or index may be left out.
    lenient = ("%", "percent", "per cent", "pct", "_")
    found = [(a, g, compare(a, g)) for g, a in pairs("different.txt") if not any(mark in a for mark in lenient)]
    assert [row for row in found if row[2].correct] == []


@pytest.mark.parametrize(("gold", "answer"), [("50\\%", "50"), ("204_5", "204"), ("5 \\text{ cm}", "5")])
def test_what_a_gold_forgives(gold: str, answer: str) -> None:
    assert compare(gold, answer).correct


@pytest.mark.parametrize("decimal", ["1.5", "3.14", "-2.1", "0.5"])
def test_a_gold_with_a_comma_may_be_a_decimal_or_two_answers(decimal: str) -> None:
    comma = decimal.replace(".", ",")
    assert compare(decimal, comma).correct
    assert compare(comma, decimal).label is Label.UNGRADABLE
    first, second = comma.split(",")
    assert compare(comma, f"{second}, {first}").correct


@pytest.mark.parametrize(("gold", "answer"), [("1,05", "1.05"), ("2,5\\%", "0.025"), ("18,50 €", "18.5")])
def test_a_gold_that_is_spelled_as_no_list_is_a_decimal(gold: str, answer: str) -> None:
    assert compare(gold, answer).correct


def test_an_inequality_is_not_multiplied_with_a_letter() -> None:
    assert compare("y < 1/x", "xy < 1").label is Label.UNGRADABLE


@pytest.mark.parametrize("gold", ["5", "\\frac{1}{2}", "\\sqrt{2}", "x+1", "1,2,3", "(1,2)", "\\{1,2\\}"])
@pytest.mark.parametrize(
    "answer", ["(-1)!", "\\csc(0)", "\\csc 0^\\circ", ",".join(map(str, range(70))), f"\\{{{'1,' * 70}2\\}}"]
)
def test_nobody_leaves_a_group_by_writing_what_cannot_be_compared(gold: str, answer: str) -> None:
    assert compare(gold, answer).label is Label.WRONG


@pytest.mark.parametrize("answer", ["\\sin(" * 16 + "1" + ")" * 16, "\\binom{\\sqrt[3]{2}}{10000000}"])
def test_the_time_that_an_answer_takes_is_no_excuse_beside_a_gold_that_can_be_read(answer: str) -> None:
    assert compare("5", answer).label is Label.WRONG
    assert compare("\\sqrt[3]{2}", answer).label in (Label.WRONG, Label.UNGRADABLE)


@pytest.mark.parametrize("gold", ["(-1)!", ",".join(map(str, range(70)))])
def test_a_gold_that_cannot_be_compared_is_ungradable(gold: str) -> None:
    assert compare(gold, "1, 2").label is Label.UNGRADABLE


def test_where_there_is_nobody_to_ask_nobody_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("no process")

    monkeypatch.setattr(decision._oracle, "worker", broken)
    assert compare("5", "\\sin 7").label is Label.UNGRADABLE
