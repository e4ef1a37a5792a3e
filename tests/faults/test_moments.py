"""Killed at the worst moments: inside a checkpoint's write, while grading, inside a generation buffer, in a second
epoch."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Little = Callable[..., Any]

pytestmark = pytest.mark.xdist_group("little")

GOES_ON = "goes on from its checkpoint"


@pytest.mark.faults
@pytest.mark.parametrize("stage", ["base", "zero"])
def test_inside_the_write_of_a_checkpoint(little: Little, little_made: dict[str, str], stage: str) -> None:
    run = little("run")

    def writing() -> bool:
        return run.steps(stage) >= 3 and any(path.name == ".writing" for path in run.checkpoints(stage))

    assert run.killed_when(writing)
    assert run.to_the_end() == little_made
    assert GOES_ON in run.printed


@pytest.mark.faults
# inside the second buffer; in the second epoch's first buffer, and after it
@pytest.mark.parametrize("done", [3, 5, 6])
def test_between_the_updates_of_a_buffer_and_in_a_second_epoch(
    little: Little, little_made: dict[str, str], done: int
) -> None:
    run = little("run")
    assert run.killed_when(lambda: run.steps("zero") >= done)
    assert run.to_the_end() == little_made
    assert GOES_ON in run.printed


@pytest.mark.faults
def test_twice_in_one_stage(little: Little, little_made: dict[str, str]) -> None:
    run = little("run")
    assert run.killed_when(lambda: run.steps("zero") >= 2)
    assert run.killed_when(lambda: run.steps("zero") >= 7)
    assert run.to_the_end() == little_made
    assert run.printed.count(GOES_ON) == 2


@pytest.mark.faults
def test_while_grading(little: Little, little_made: dict[str, str]) -> None:
    """The stage's own process dies at the 40th call of a rule: inside the grading of the third step's rollouts."""
    run = little("run", cuts="40")
    assert run.start().wait() == 1
    assert "was ended by SIGKILL" in run.printed
    assert run.to_the_end() == little_made
    ledger = [json.loads(line) for line in (run.folder / "runs" / "little" / "ledger.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in ledger if row["event"] == "failed"] == ["zero", "run"]


@pytest.mark.faults
@pytest.mark.parametrize("seed", [0, 1])
def test_two_runs_of_a_seed_are_equal_and_another_seed_is_not(
    little: Little, little_made: dict[str, str], seed: int
) -> None:
    run = little("run", head=f"seed: {seed}\n")
    assert (run.to_the_end() == little_made) == (seed == 0)
