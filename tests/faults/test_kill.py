"""`retort run smoke`, killed at any moment and started again, ends with the bytes of a run that was left alone."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.store.run_folder import RunFolder

Killed = Callable[..., Any]

pytestmark = pytest.mark.xdist_group("smoke")

GOES_ON = "goes on from its checkpoint"


def begun_before(smoke: Path, to: Path, moment: float) -> None:
    """The artifacts that the undisturbed run had finished so many seconds after its beginning."""
    run = RunFolder(smoke / "runs" / "smoke")
    for row in run.ledger():
        if row["event"] == "finished" and row["stage"] != "run" and row["at"] < moment:
            shutil.copytree(smoke / "runs" / "artifacts" / row["artifact"], to / "runs" / "artifacts" / row["artifact"])


@pytest.mark.faults  # over a minute; test_moments kills a smaller run in `make test`
def test_killed_twice(killed: Killed, smoke_made: dict[str, str], smoke_recipe: str) -> None:
    run = killed("run", smoke_recipe)
    assert run.killed_when(lambda: run.steps("base") >= 20)
    assert run.killed_when(lambda: run.steps("zero") >= 4)
    assert run.to_the_end() == smoke_made
    assert run.printed.count(GOES_ON) >= 2


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(30))
def test_killed_anywhere(killed: Killed, smoke: Path, smoke_made: dict[str, str], smoke_recipe: str, seed: int) -> None:
    """The stages before the kill are taken from the undisturbed run, so that the moments cover all of it alike."""
    run = killed("run", smoke_recipe)
    rng = random.Random(seed)
    length = max(row["at"] for row in RunFolder(smoke / "runs" / "smoke").ledger())
    begun_before(smoke, run.folder, rng.uniform(0, length))
    run.killed_after(rng.uniform(3, 20))
    assert run.to_the_end() == smoke_made


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again(killed: Killed, smoke_made: dict[str, str], smoke_recipe: str, seed: int) -> None:
    run = killed("run", smoke_recipe)
    rng = random.Random(100 + seed)
    for _ in range(8):
        run.killed_after(rng.uniform(4, 25))
    assert run.to_the_end() == smoke_made
