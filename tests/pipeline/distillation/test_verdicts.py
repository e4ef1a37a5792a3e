"""Which of several teachers' traces a student learns from: problems are told apart by what they ask."""

import json
from pathlib import Path

import pytest

from pipeline.contract.dataset import ALL
from pipeline.contract.dataset.verdict import RATE, verdict
from pipeline.contract.errors import StageError
from pipeline.distillation.verdicts import Traces, best
from rewards.types import Problem


def problem(prompt: str, id_: str = "train-0") -> Problem:
    return Problem(id_, prompt, "1", "math", "mine")


def traces(folder: Path, name: str, problems: list[Problem], right: int) -> Traces:
    file = folder / f"{name}.jsonl"
    rows = [{"prompt": one.prompt, "completion": name, **verdict(one, right, 4)} for one in problems]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Traces(name, file, ALL)


def chosen(folder: Path, *of_teachers: Traces) -> list[tuple[str, str]]:
    file = best(folder / "cache", of_teachers).folder / "data.jsonl"
    return [(row["prompt"], row["completion"]) for row in map(json.loads, file.read_text().splitlines())]


def test_questions_of_one_id_are_problems_of_their_own(tmp_path: Path) -> None:
    """As two files have them that are called train.jsonl."""
    first = traces(tmp_path, "first", [problem("How many eggs?")], 2)
    second = traces(tmp_path, "second", [problem("How many hens?")], 4)
    assert chosen(tmp_path, first, second) == [("How many eggs?", "first"), ("How many hens?", "second")]


def test_a_question_is_one_problem_whatever_its_id(tmp_path: Path) -> None:
    """Which depends on the sets that stand beside its own."""
    first = traces(tmp_path, "first", [problem("2 and 3?")], 2)
    second = traces(tmp_path, "second", [problem("2 and 3?", "b/train-0")], 4)
    assert chosen(tmp_path, first, second) == [("2 and 3?", "second")]


def test_a_question_that_a_set_has_twice_has_the_mean_of_both(tmp_path: Path) -> None:
    first = traces(tmp_path, "first", [problem("2 and 3?")], 2)
    twice = traces(tmp_path, "twice", [problem("2 and 3?"), problem("2 and 3?", "train-1")], 1)
    file = tmp_path / "twice.jsonl"
    file.write_text(file.read_text().replace(f'"{RATE}": 0.25', f'"{RATE}": 0.7', 1))  # .475 on the mean
    assert chosen(tmp_path, first, twice) == [("2 and 3?", "first")]


def test_rows_that_do_not_say_what_was_asked_are_drawn_anew(tmp_path: Path) -> None:
    told = traces(tmp_path, "first", [problem("How many eggs?")], 2)
    row = {"prompt": "How many eggs?", "completion": "1", "problem": "train-0", RATE: 1.0}
    (tmp_path / "old.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(StageError, match="a row of old does not say what it was asked"):
        best(tmp_path / "cache", [told, Traces("old", tmp_path / "old.jsonl", ALL)])
