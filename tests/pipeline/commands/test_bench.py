"""`retort bench math`: our grader beside math-verify's."""

import json
from pathlib import Path

import pytest

from eval.problems.data_folder import VARIABLE
from pipeline.bench import math
from pipeline.commands import cli

GSM8K = [{"question": "?", "answer": f"#### {number}"} for number in (18, 3, 1250, 7)]


def test_it_measures_what_there_is_and_says_what_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gsm8k_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GSM8K))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(math, "ROUNDS", 2)
    assert cli.main(["bench", "math", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    gsm8k = found["sets"]["gsm8k:test"]
    assert (gsm8k["answers"], gsm8k["differ"]) == (8, 0)
    assert len(gsm8k["ours"]) == len(gsm8k["theirs"]) == len(found["import_seconds"]) == 2
    assert set(gsm8k["ratio"]) == {"median", "least", "most"}
    assert found["sets"]["math500:test"].startswith("not measured: ")
    assert cli.main(["bench", "math"]) == 0
    assert "8 answers; the verdicts differ on 0" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "math", "--data", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
