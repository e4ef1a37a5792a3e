"""The stage's side: tables that it leaves, and trackers that do not come to an end."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.disk import durable
from pipeline.disk.locks import Lock
from pipeline.run.tracking import telling, tracking
from pipeline.run.tracking.tracking import Tracking
from tests.pipeline.run.test_job import a_job

ROW = {"step": 3, "problem": "p", "prompt": "1?", "text": "x" * 20_000, "verdict": "WRONG", "reward": None}


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[Path]:
    """The folder of a tracker that never begins, since somebody else holds its lock."""
    folder = tmp_path / "tracking" / "trackio"
    folder.mkdir(parents=True)
    with Lock(folder / "lock"):
        yield folder


def test_a_tracker_that_never_ends_is_waited_for_a_while_alone(
    tmp_path: Path, stuck: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "PATIENCE", 0.2)
    notes: list[str] = []
    with Tracking(replace(a_job(tmp_path), report_to=["trackio"]), note=notes.append) as told:
        for step in range(25):
            told.rollouts(step, [ROW] * 100)
        told.finish({"loss": 1.0})
        [process] = told._processes.values()
    assert process.returncode == -9
    tables = sorted(stuck.glob("step-*.json"))
    assert len(tables) == tracking._WAITING
    [row, *others] = durable.read_json(tables[0])["rows"]
    assert row == [3, "p", "1?", "x" * tracking.LONGEST, "WRONG", None, None]
    assert len(others) == tracking.MOST_ROLLOUTS - 1
    assert notes == [
        "trackio is slow: some tables of rollouts are left out",
        "trackio was told nothing and did not come to an end: it took longer than 0.2 seconds; everything is in the "
        "stage's metrics.jsonl"]


def test_a_process_that_is_not_the_first_tells_nothing(tmp_path: Path) -> None:
    with Tracking(replace(a_job(tmp_path), report_to=["trackio", "wandb"]), note=print, silent=True) as told:
        told.rollouts(1, [ROW])
        told.finish({})
    assert not (tmp_path / "tracking").exists()


def test_without_trackers_nothing_is_started(tmp_path: Path) -> None:
    with Tracking(a_job(tmp_path), note=print) as told:
        told.rollouts(1, [ROW])
        told.finish({})
    assert not (tmp_path / "tracking").exists()
