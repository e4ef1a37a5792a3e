"""The displays that are asked for: quiet, for programs, and with the lines of logs."""

import json
from pathlib import Path

import pytest

from pipeline.run.display.choice import Asked, display
from pipeline.run.display.json_log import JsonDisplay
from pipeline.run.display.progress import Display, PlainDisplay
from pipeline.run.display.quiet import QuietDisplay
from pipeline.run.display.verbose import VerboseDisplay


def all_that_happens(shown: Display) -> None:
    shown.started("base", "pretrain")
    shown.at_work("base")
    for done in range(4):
        shown.progress("base", done, 3, {"loss": 0.5})
    shown.note("base", "so far\nso good")
    shown.log("base", "UserWarning: old")
    shown.refresh()
    shown.finished("base", 4.0, {"accuracy": 0.25})
    shown.reused("zero", "zero-0123456789")
    shown.failed("student", "no room\x1b[2J")
    shown.close()
    shown.say("to go on: retort run x")
    shown.ended(1)


def test_who_is_quiet_reads_errors_alone(capsys: pytest.CaptureFixture[str]) -> None:
    all_that_happens(QuietDisplay())
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "student  failed: no room\\u001b[2J\n")


def test_a_program_reads_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    all_that_happens(JsonDisplay())
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    times = [row.pop("time") for row in rows]
    assert times == sorted(times)
    told = {"event": "progress", "stage": "base", "total": 3, "figures": {"loss": 0.5}}
    assert rows == [
        {"event": "started", "stage": "base", "kind": "pretrain"},
        {**told, "done": 0}, {**told, "done": 3},  # once a second, and the last
        {"event": "note", "stage": "base", "text": "so far\nso good"},
        {"event": "log", "stage": "base", "text": "UserWarning: old"},
        {"event": "finished", "stage": "base", "seconds": 4.0, "metrics": {"accuracy": 0.25}},
        {"event": "reused", "stage": "zero", "artifact": "zero-0123456789"},
        {"event": "failed", "stage": "student", "message": "no room\x1b[2J"},
        {"event": "note", "text": "to go on: retort run x"},
        {"event": "ended", "code": 1},
    ]


def test_every_key_of_the_objects_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    all_that_happens(JsonDisplay())
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    text = (Path(__file__).parents[4] / "recipes" / "README.md").read_text()
    section = text.partition("## What is seen of a run")[2].partition("\n## ")[0]
    assert {key for row in rows for key in row if f"`{key}`" not in section} == set()
    assert {row["event"] for row in rows if f"`{row['event']}`" not in section} == set()


def test_lines_of_logs_are_told_once_they_are_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "base.log"
    log.write_text("of an earlier attempt\n")
    shown = VerboseDisplay(PlainDisplay(["base"]), tmp_path)
    shown.started("base", "pretrain")
    shown.refresh()
    with log.open("a") as stream:
        stream.write("UserWarning: one\n\nhalf")
        stream.flush()
        shown.refresh()
        stream.write(" a line\r\n\x1b[2Jlast")
    shown.refresh()
    shown.finished("base", 1.0, {})
    shown.close()
    assert capsys.readouterr().out.splitlines() == [
        "base  starts (pretrain)", "base  UserWarning: one", "base  half a line", "base  \\u001b[2Jlast",
        "base  done in 1.0s"]


def test_a_stage_without_a_log_has_no_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = VerboseDisplay(PlainDisplay(["base"]), tmp_path)
    all_that_happens(shown)
    assert "UserWarning" in capsys.readouterr().out


@pytest.mark.parametrize(("asked", "expected"), [
    (Asked(), PlainDisplay), (Asked(quiet=True), QuietDisplay), (Asked(json=True), JsonDisplay),
    (Asked(verbose=True), VerboseDisplay), (Asked(verbose=True, json=True), VerboseDisplay),
])
def test_a_pipe_has_the_plain_display_or_what_was_asked_for(asked: Asked, expected: type, tmp_path: Path) -> None:
    assert type(display(["base"], asked, tmp_path)) is expected
