"""What a tracker is told of a stage whose files are written by hand, and what comes of one that fails."""

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from pipeline.disk import durable
from pipeline.recipe.header import TrackerName
from pipeline.run.tracking import telling
from pipeline.run.tracking.telling import Rows, Teller, without_secrets
from pipeline.run.tracking.tracker import Told, Watched


class Kept:
    """A tracker that keeps what it is told, and cannot take rows whose loss is negative."""

    def __init__(self, watched: Watched, key: str, *, before: int) -> None:
        self.told: list[Any] = [(watched.name, key, before)]
        MADE.append(self)

    def row(self, number: int, row: dict[str, Any]) -> None:
        if row["loss"] < 0:
            raise OSError(f"no network; the key was {row['key']}")
        self.told.append((number, row["loss"]))

    def rollouts(self, step: int, rows: Sequence[Sequence[object]]) -> None:
        self.told.append(("rollouts", step, len(rows)))

    def final(self, metrics: dict[str, Any]) -> None:
        self.told.append(("final", metrics))

    def close(self) -> None:
        self.told.append("closed")


MADE: list[Kept] = []


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """tell(losses, steps) -> what the tracker is told in one attempt at a stage with this metrics.jsonl and tables."""
    monkeypatch.setitem(telling.TRACKERS, "wandb", Kept)
    MADE.clear()
    watched = Watched("project", "run", "zero", "grpo", "f", tmp_path, tmp_path / "metrics.jsonl", tmp_path / "events")
    watched.write(tmp_path / telling.WATCHED)
    assert Watched.read(tmp_path / telling.WATCHED) == watched
    (tmp_path / "wandb").mkdir()
    ended = threading.Event()
    ended.set()

    def attempt(losses: Sequence[float], steps: Sequence[int] = ()) -> list[Any]:
        text = "".join(json.dumps({"loss": loss, "key": "very-secret"}) + "\n" for loss in losses)
        watched.metrics.write_text(text)
        for step in steps:
            durable.write_json(tmp_path / "wandb" / f"step-{step:09d}.json", {"step": step, "rows": [[step]]})
        made = len(MADE)
        Teller(tmp_path, "wandb", ended).run()
        return MADE[-1].told if len(MADE) > made else []

    return attempt


def notes(folder: Path) -> list[str]:
    return [row["text"] for row in durable.rows(folder / "events")]


def test_there_is_a_tracker_for_each_name() -> None:
    assert set(telling.TRACKERS) == set(get_args(TrackerName))


def test_each_row_and_table_is_told_once_over_attempts(tell: Callable[..., list[Any]], tmp_path: Path) -> None:
    (name, key, before), *told = tell([4, 3, 2], [1, 2])
    assert (name, before) == ("run:zero", 0)
    assert told == [(0, 4), (1, 3), (2, 2), ("rollouts", 1, 1), ("rollouts", 2, 1), "closed"]
    # It goes on from a checkpoint after the second row.
    assert tell([4, 3], [2]) == [("run:zero", key, 5), "closed"]
    durable.write_json(tmp_path / telling.FINAL, {"loss": 1})
    assert tell([4, 3, 2, 1], [2, 3]) == [
        ("run:zero", key, 5), (3, 1), ("rollouts", 3, 1), ("final", {"loss": 1}), "closed"]
    assert tell([4, 3, 2, 1]) == [("run:zero", key, 7), "closed"]
    assert notes(tmp_path) == []


def test_what_a_tracker_does_not_take_is_said_once_and_counted(
    tell: Callable[..., list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "very-secret")
    _, *told = tell([4, -3, -2, 1])
    assert told == [(0, 4), (3, 1), "closed"]
    assert notes(tmp_path) == [
        "wandb could not take a row (OSError: no network; the key was [WANDB_API_KEY]); the stage goes on",
        "wandb did not take 2 things that it was told; they are in metrics.jsonl"]
    assert "very-secret" not in capsys.readouterr().err


def test_a_tracker_that_cannot_begin_is_no_reason_to_fail(
    tell: Callable[..., list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("no key")

    with monkeypatch.context() as patched:
        patched.setitem(telling.TRACKERS, "wandb", broken)
        assert tell([4]) == []
    assert notes(tmp_path) == ["wandb could not begin (ValueError: no key); the stage goes on"]
    # What it was not told yet it is told by the next attempt, as a new run.
    (_, _, before), *told = tell([4, 3])
    assert before == 0
    assert told == [(0, 4), (1, 3), "closed"]


def test_rows_are_read_as_they_are_written_and_put_back(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    rows = Rows(file)
    assert rows.new() == []
    file.write_text('{"a": 1}\n{"a"')
    assert rows.new() == [(0, {"a": 1})]
    file.write_text('{"a": 1}\n{"a": 2}\n{"a": 3}\n')
    assert rows.new() == [(1, {"a": 2}), (2, {"a": 3})]
    assert rows.new() == []
    file.write_text('{"a": 1}\n')
    assert rows.new() == [(0, {"a": 1})]


def test_what_was_told_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert Told.read(tmp_path / "told.json") is None
    told = Told("key", 3, 1, 2, final=True)
    told.write(tmp_path / "told.json")
    assert Told.read(tmp_path / "told.json") == told


def test_secrets_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("hf_token", "hf_abcdef")
    monkeypatch.setenv("SOME_PASSWORD", "x")
    assert without_secrets("hf_abcdef at x") == "[hf_token] at x"
