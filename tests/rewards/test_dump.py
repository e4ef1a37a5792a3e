"""`retort grade FILE`: rows in, rows with verdicts out, whatever the rows are."""

import argparse
import io
import json
from pathlib import Path

import pytest

from pipeline.commands import grade as command
from rewards.dump import grade_dump
from rewards.errors import RetortError

LINES = [
    json.dumps({"verifier": "math", "answer": "5", "completion": "<think>5</think><answer>5</answer>", "mine": 1}),
    json.dumps({"verifier": "math", "answer": "5", "response": "6"}),
    '{"verifier": "math", "ans',
    "",
    json.dumps({"verifier": "maht", "answer": "5", "response": "6"}),
    json.dumps({"verifier": "math", "response": "6"}),
    json.dumps({"verifier": "math", "answer": "5"}),
    json.dumps([1]),
    json.dumps(
        {
            "verifier": "code", "entry": "f", "tests": [{"input": [1], "expected": 2}],
            "completion": "f = lambda x: x + 1"
        }
    ),
    json.dumps({"verifier": "code", "tests": [], "completion": ""}),
    json.dumps({"verifier": "math", "answer": "5", "completion": "<think>5", "finished": False}),
]


@pytest.mark.parametrize("jobs", [1, 2])
def test_rows_errors_and_summary(jobs: int) -> None:
    out, err = io.BytesIO(), io.StringIO()
    counts = grade_dump(io.BytesIO("\n".join(LINES).encode()), out, err, jobs=jobs)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [row["verdict"] for row in rows] == ["correct", "wrong", "correct", "truncated"]
    assert rows[0]["mine"] == 1
    assert rows[0]["extracted"] == "5"
    assert all(set(row) >= {"verdict", "extracted", "reason", "seconds"} for row in rows)
    assert counts["bad rows"] == 6
    lines = err.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [f"line {n}" for n in (3, 5, 6, 7, 8, 10)]
    assert "did you mean 'math'" in lines[1]
    assert lines[-1].startswith("4 graded in ")
    assert "6 bad rows" in lines[-1]


def test_half_of_a_surrogate_pair_is_written_as_it_came() -> None:
    line = json.dumps({"verifier": "math", "answer": "5", "response": "\ud800", "mine": "\ud800é"}).encode()
    out = io.BytesIO()
    assert grade_dump(io.BytesIO(line), out, io.StringIO()) == {"wrong": 1}
    assert json.loads(out.getvalue().decode())["mine"] == "\ud800é"


def test_rows_of_every_kind_of_test() -> None:
    lines = [
        {"tests": [{"stdin": "2", "stdout": "4"}], "completion": "print(int(input()) ** 2)"},
        {
            "entry": "f", "prefix": "def f(x):\n", "check": "def check(c):\n    assert c(2) == 4",
            "completion": "    return x * x"
        },
        {"names": ["f"], "asserts": ["assert f(2) == 4"], "completion": "def f(x): return x + 3"},
        {"verifier": "code", "completion": "def f(x): return x + 3"},
    ]
    file = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    counts = grade_dump(file, io.BytesIO(), io.StringIO())
    assert counts == {"correct": 2, "wrong": 1, "bad rows": 1}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes("\n".join(LINES[:2]).encode() + b'\n{"verifier": "math", "answer": "\xff", "response": "1"}\n')
    parser = argparse.ArgumentParser()
    command.configure(parser)
    assert command.main(parser.parse_args([str(file), "--jobs", "2"])) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    with pytest.raises(RetortError, match="there is no file"):
        command.main(parser.parse_args([str(tmp_path / "none.jsonl")]))


def test_columns_that_are_null_are_not_there() -> None:
    tests = [{"input": [1], "expected": None, "type": None}]
    of_code = {"tests": tests, "entry": "f", "check": None, "answer": None, "verifier": None}
    lines = [
        {"verifier": "math", "answer": "5", "tests": None, "completion": None, "response": "5", "finished": None},
        {**of_code, "completion": "def f(x): return None"},
        {"verifier": "code", "answer": {"entry": "f", "tests": tests, "asserts": None}, "response": "f = print"},
        {"verifier": "math", "answer": "5", "completion": "<think>5", "finished": None},
        {"verifier": "math", "answer": None, "completion": "None"},
    ]
    out = io.BytesIO()
    text = "\ufeff" + "\n".join(map(json.dumps, lines))
    grade_dump(io.BytesIO(text.encode()), out, io.StringIO())
    verdicts = [json.loads(line)["verdict"] for line in out.getvalue().splitlines()]
    assert verdicts == ["correct", "correct", "correct", "no_answer", "ungradable"]


def test_finished_is_a_truth_value() -> None:
    err = io.StringIO()
    line = json.dumps({"verifier": "math", "answer": "5", "response": "5", "finished": "false"})
    assert grade_dump(io.BytesIO(line.encode()), io.BytesIO(), err) == {"bad rows": 1}
    assert "\"finished\" is true or false, not 'false'" in err.getvalue()


@pytest.mark.parametrize(("text", "code"), [("PAR1\n\nno", 1), ("", 0), (f"no\n{LINES[0]}", 0)])
def test_a_file_of_no_rows_fails(tmp_path: Path, text: str, code: int) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    parser = argparse.ArgumentParser()
    command.configure(parser)
    assert command.main(parser.parse_args([str(tmp_path / "rows.jsonl"), "--jobs", "1"])) == code
