"""The table that a person reads in ten seconds."""

import re

import pytest

from eval.report import mean_of_sets, reduce
from eval.table import table


def numbers(correct, n=50, rollouts=2, verdict="wrong"):
    """Numbers of a set where `correct` of the n problems are always solved."""
    return reduce(
        {"problem": f"p{i}", "verdict": "correct" if i < correct else verdict, "extracted": "7",
         "tokens": 10 + i, "format": True, "readable": i % 2 == 0}
        for i in range(n) for _ in range(rollouts)
    )


MODELS = {
    "base": {"parameters": 763_104, "problems": {"sums": numbers(5), "programs": numbers(10)}},
    "student": {"parameters": 143_000, "problems": {"sums": numbers(45), "programs": numbers(50)}},
}


def test_a_row_for_each_model_and_aligned_columns():
    lines = table(MODELS, width=140).splitlines()
    assert lines[0].split("   ")[-1].strip() == "programs (50 x 2)"
    of_a_set = ["pass@1", "@2", "readable", "tokens", "cut"]
    assert lines[1].split() == ["model", "size", "pass@1", "@2", *of_a_set * 2]
    assert lines[2].split()[:2] == ["base", "763k"]
    assert lines[2].split()[2:4] == ["15.0", "(9.7-24.0)"]
    assert lines[2].split()[5:7] == ["10.0", "(4.2-21.8)"]
    assert len({line.index(")") for line in lines[2:4]}) == 1
    assert lines[4] == "mean: sums + programs"
    assert len(lines) == 5


def test_ways_to_choose_have_columns_where_one_was_asked_for():
    problems = {"sums": {**MODELS["base"]["problems"]["sums"], "best@2": 0.3}}
    header, line = table({"base": {"parameters": None, "problems": problems}}, width=140).splitlines()[1:3]
    assert header.split() == ["model", "size", "pass@1", "@2", "maj@2", "best@2", "readable", "tokens", "cut"]
    assert line.split()[3:6] == ["10.0", "10.0", "30.0"]


def test_the_lenient_reading_has_a_column_where_it_was_measured():
    problems = {"sums": {**MODELS["base"]["problems"]["sums"], "flexible": 0.4}}
    lines = table({"base": {"parameters": None, "problems": problems}}, width=140).splitlines()
    header = next(line for line in lines if "pass@1" in line)
    assert header.split()[-6:] == ["pass@1", "flexible", "@2", "readable", "tokens", "cut"]
    assert "40.0" in next(line for line in lines if line.startswith("base"))


def test_it_wraps_between_sets_and_names_the_models_again():
    lines = table(MODELS, width=90).splitlines()
    assert max(map(len, lines)) <= 90
    assert [line.split()[0] for line in lines if line] == [
        "mean", "model", "base", "student", "programs", "model", "base", "student", "mean:",
    ]


def test_sets_that_a_model_lacks_are_dashes_and_in_no_mean():
    problems = {**MODELS["base"]["problems"], "needle": numbers(25)}
    more = {**MODELS, "base": {"parameters": None, "problems": problems}}
    text = table(more, width=200)
    assert text.splitlines()[3].split()[-4:] == ["-", "-", "-", "-"]
    assert "mean: sums + programs" in text


def test_means_are_of_the_same_sets_whatever_a_report_brings():
    problems = {**MODELS["base"]["problems"], "easy": numbers(50)}
    brought = {**MODELS, "base": {"parameters": None, "problems": problems, "mean": mean_of_sets(problems)}}
    lines = table(brought, width=200).splitlines()
    assert [line for line in lines if line.startswith("mean:")] == ["mean: sums + programs"]
    assert [line.split()[1] for line in lines[2:3]] == ["15.0"]


def test_one_set_has_no_mean():
    assert "mean" not in table({"m": {"parameters": 12, "problems": {"sums": numbers(5)}}})


def test_what_could_not_be_graded_is_said():
    bad = {"m": {"parameters": 1_200_000_000, "problems": {"sums": numbers(25, verdict="ungradable")}}}
    text = table(bad)
    assert "1.2B" in text
    assert "m on sums: 50.0% of the rollouts could not be graded" in text
    none = table({"m": {"problems": {"sums": numbers(0, verdict="ungradable")}}})
    assert none.splitlines()[2].split()[1] == "-"


@pytest.mark.parametrize(("correct", "n"), [(3, 3), (0, 3), (1, 1), (49, 50), (1, 50)])
def test_no_interval_goes_beyond_nothing_or_all(correct: int, n: int) -> None:
    cell = table({"m": {"problems": {"sums": numbers(correct, n=n), "others": numbers(correct, n=n)}}}, 200)
    found = re.findall(r"([0-9.]+) \(([0-9.]+)-([0-9.]+)\)", cell)
    assert len(found) == 3, "the mean and both sets"
    for mean, low, high in found:
        assert 0 <= float(low) <= float(mean) <= float(high) <= 100
        assert float(low) < float(high)


def test_what_models_were_told_is_said_once():
    sums = {"sums": {"instruction": "Answer in\n\\boxed{}.", "system": "Be right."}}
    both = {"sums": sums["sums"], "programs": {"instruction": {"math": None, "code": "In Python."}}}
    models = {name: {**model, "protocol": both if name == "base" else sums} for name, model in MODELS.items()}
    assert table(models, width=140).splitlines()[5:] == [
        "told on sums: Answer in \\boxed{}.", "told on sums: system: Be right.", "told on programs: In Python."
    ]
