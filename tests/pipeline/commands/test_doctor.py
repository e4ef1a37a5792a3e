"""`retort doctor` tells how isolated programs run here; `retort bench grade` how fast."""

import pytest

from pipeline.commands import cli
from rewards.sandbox.pool import sandbox


def test_doctor_tells_level_layers_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    report = sandbox.report()
    assert said.startswith(f"sandbox   {report.level.name}, ")
    assert all(word in said for word in (*report.layers, "tried in a program: socket", "machine ", "python ", "torch "))


def test_doctor_where_nothing_can_be_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sandbox.pool.close()
    monkeypatch.setattr("sys.executable", "/nonexistent")
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.startswith("sandbox   no program can be run: the sandbox does not start")


def test_bench_prints_both_rates(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "grade", "--seconds", "0.1"]) == 0
    said = capsys.readouterr().out
    assert "runs/s" in said
    assert "cold python -I" in said
    assert cli.main(["bench", "grade", "--seconds", "0"]) == 2
