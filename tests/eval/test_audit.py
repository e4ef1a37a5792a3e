"""`retort grade --audit SET`: sets that are graded as they should be, and sets and verifiers that are not."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from eval.audit import _certainly_differ, audit
from eval.problems import PROBLEMS, load
from eval.problems.data_folder import VARIABLE
from pipeline.commands import cli
from rewards.types import Label, Problem

FROM_FILES = {
    "gsm8k": "gsm8k_test", "math": "math_train", "math500": "math500_test", "humaneval": "humaneval", "mbpp": "mbpp",
    "aime2024": "aime2024_test", "aime2025": "aime2025_test", "gpqa_diamond": "gpqa_diamond_test",
}
LENIENT = '''
from rewards.types import Label, Verdict
def lenient(problem, completion):
    return Verdict(Label.CORRECT)
'''


def file_of(folder: Path, answers: list[str], verifier: str = "math") -> str:
    path = folder / "mine.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prompt": f"{i}?", "answer": a, "verifier": verifier}) + "\n" for i, a in enumerate(answers)
        )
    )
    return str(path)


@pytest.mark.parametrize("name", PROBLEMS.names())
def test_every_set_is_graded_as_it_should_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in FROM_FILES:
        folder = Path(os.environ.get(VARIABLE) or Path(__file__).parents[3] / "shared" / "data")
        if not (folder / f"{FROM_FILES[name]}.jsonl").is_file():
            pytest.skip(f"no {FROM_FILES[name]}.jsonl in {folder}; set {VARIABLE} to the folder that has it")
        monkeypatch.setenv(VARIABLE, str(folder))
    split = "train" if name == "math" else "test"
    outcomes = list(audit(load(f"{name}:{split}", None if name in ("gsm8k", "math500") else 12)))
    assert [str(outcome) for outcome in outcomes if outcome.fails] == []
    # Every problem has a right answer and, but for neighbours that are alike, a wrong one.
    right = {outcome.check.problem.id for outcome in outcomes if outcome.check.right}
    wrong = {outcome.check.problem.id for outcome in outcomes if not outcome.check.right}
    assert len(wrong) >= 0.9 * len(right) > 0


def test_a_gold_that_cannot_be_read_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, ["5", "\\frac{1}{", "7"])
    assert cli.main(["grade", "--audit", path]) == 1
    found = capsys.readouterr()
    lines = found.out.splitlines()
    assert lines[0].startswith("mine-2: its own answer in a box is no_answer, not correct")
    assert all(line.startswith("mine-2: ") for line in lines)
    assert "3 problems" in found.err
    assert "FAIL" in found.err


def test_a_verifier_that_forgives_everything_fails(tmp_path: Path) -> None:
    (tmp_path / "lenient.py").write_text(LENIENT)
    problems = load(file_of(tmp_path, ["5", "6"], f"{tmp_path / 'lenient.py'}:lenient"))
    fails = [outcome for outcome in audit(problems) if outcome.fails]
    assert len(fails) == 2
    assert all(not outcome.check.right and outcome.label is Label.CORRECT for outcome in fails)


def test_a_function_that_may_return_nothing_fails() -> None:
    answer = {"entry": "f", "tests": [{"input": [1], "expected": None}]}
    outcomes = audit([Problem("p", "", answer, "code", "")])
    assert [o.check.what for o in outcomes if o.fails] == ["pass", "return None"]


@pytest.mark.parametrize(("one", "other", "differ"), [
    ("5", "6", True), ("5", "x=5", False), ("0.5", "\\frac{1}{2}", False), ("50\\%", "1/2", False),
    ("1,000", "1000", False), ("15", "15\\mbox{ cm}^2", False), ("3", "4", True), ("\\text{even}", "odd", True),
    ("East", "\\text{east}", False), ("2.0", "2", False), ("-3", "3", False), ("1", "12", True),
])  # fmt: skip
def test_answers_that_certainly_differ(one: str, other: str, differ: bool) -> None:
    a, b = (Problem("", "", answer, "math", "") for answer in (one, other))
    assert _certainly_differ(a, b) is differ
    assert _certainly_differ(b, a) is differ


@pytest.mark.parametrize(("words", "expected"), [
    (["grade"], "retort grade: give either a FILE of rows or --audit SET:SPLIT"),
    (["grade", "x.jsonl", "--audit", "gsm8k:test"], "retort grade: give either a FILE of rows or --audit SET:SPLIT"),
    (["grade", "none.jsonl"], "retort grade: there is no file none.jsonl"),
    (["grade", "--audit", "gsm9k:test"], "retort grade: there is no problem set called 'gsm9k'; did you mean 'gsm8k'?"),
    (["grade", "--audit", "needle"], "retort grade: problem set 'needle' is not written name:split"),
    (
        ["grade", "--audit", "needle:test", "--problems", "0"],
        "retort grade: needle:test: the number of problems must be"
    ),
])
def test_a_wrong_command_is_one_line(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    found = capsys.readouterr()
    assert found.err.startswith(expected)
    assert found.err.count("\n") == 1


@pytest.mark.parametrize("letter", ["B", "(B)", " b"])
def test_multiple_choice_is_tried_by_its_letters(letter: str) -> None:
    answer = {"letter": letter, "choices": ["1 eV", "2 eV", "3 eV"]}
    outcomes = list(audit([Problem("q", "?", answer, "choice", "quiz")]))
    assert [str(outcome) for outcome in outcomes if outcome.fails] == []
    assert [outcome.check.right for outcome in outcomes] == [False, False, True, True, False, False]


def test_of_a_game_only_solutions_are_tried() -> None:
    games = [Problem(f"g{n}", "?", {"numbers": [n, 1], "target": n + 1}, "countdown", "") for n in (3, 5)]
    assert list(audit(games)) == []
    solved = replace(games[0], meta={"solution": "<answer>3 + 1</answer>"})
    assert [outcome.label for outcome in audit([solved, games[1]])] == [Label.CORRECT]
