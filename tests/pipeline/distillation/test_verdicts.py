"""Which of several teachers' traces a student learns from: problems are told apart by what they ask."""

import json
from pathlib import Path

import pytest

from pipeline.contract.dataset import ALL
from pipeline.contract.dataset.verdict import RATE, verdict
from pipeline.contract.errors import StageError
from pipeline.distillation.verdicts import Traces, best
from rewards.types import Problem


def problem(prompt: str, skeleton: str = "") -> Problem:
    return Problem("train-0", prompt, "1", "math", "mine", skeleton)


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


def test_a_problem_in_other_words_is_the_same_one(tmp_path: Path) -> None:
    first = traces(tmp_path, "first", [problem("2 and 3?", "2+3")], 2)
    second = traces(tmp_path, "second", [problem("3 and 2?", "2+3")], 4)
    assert chosen(tmp_path, first, second) == [("3 and 2?", "second")]


def test_rows_that_do_not_say_what_was_asked_are_drawn_anew(tmp_path: Path) -> None:
    told = traces(tmp_path, "first", [problem("How many eggs?")], 2)
    row = {"prompt": "How many eggs?", "completion": "1", "problem": "train-0", RATE: 1.0}
    (tmp_path / "old.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(StageError, match="a row of old does not say which problem it answers, what that asks"):
        best(tmp_path / "cache", [told, Traces("old", tmp_path / "old.jsonl", ALL)])
