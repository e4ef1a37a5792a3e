"""Checkpoints of a stage: whole or not there, bounded in number and cost, and refused where exactness is lost."""

import time
from pathlib import Path

import pytest

from pipeline.contract.checkpoints import COST, METRICS, Checkpoints, CheckpointSchedule, damage, grace
from pipeline.contract.errors import StageError
from rewards.types import Completion, Label, Verdict


def made(folder: Path, notes: list[str] | None = None, inexact: bool = False, facts: dict[str, str] | None = None,
         **schedule: float | None) -> Checkpoints:
    said = [] if notes is None else notes
    return Checkpoints(folder / "checkpoints", folder / METRICS, facts or {"torch": "2"},
                       CheckpointSchedule.model_validate(schedule),
                       note=said.append, inexact=inexact)


def write(checkpoints: Checkpoints, step: int) -> None:
    with checkpoints.writing(step) as folder:
        (folder / "weights").write_bytes(bytes(range(200)) * step)


def test_the_last_one_alone_is_kept_and_found(tmp_path: Path) -> None:
    first = made(tmp_path)
    assert first.latest() is None
    for step in (2, 9, 10):
        write(first, step)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-10"]
    found = made(tmp_path).latest()
    assert found is not None
    assert found.step == 10
    assert (found.path / "weights").read_bytes() == bytes(range(200)) * 10


def test_a_write_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoints = made(tmp_path)
    write(checkpoints, 1)
    writing = checkpoints.writing(2)
    folder = writing.__enter__()
    (folder / "weights").write_bytes(b"half")
    assert not writing.__exit__(OSError, OSError("full"), None)
    found = made(tmp_path).latest()
    assert found is not None
    assert found.step == 1


def test_metrics_go_back_to_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text('{"step": 1}\n')
    write(made(tmp_path), 1)
    (tmp_path / METRICS).write_text('{"step": 1}\n{"step": 2}\n')
    made(tmp_path).latest()
    assert (tmp_path / METRICS).read_text() == '{"step": 1}\n'


@pytest.mark.parametrize("fault", ["flipped", "cut", "gone", "more", "no manifest"])
def test_a_damaged_one_is_told_of_and_not_used(tmp_path: Path, fault: str) -> None:
    write(made(tmp_path), 3)
    weights = tmp_path / "checkpoints" / "step-3" / "weights"
    content = weights.read_bytes()
    match fault:
        case "flipped":
            weights.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
        case "cut":
            weights.write_bytes(content[:100])
        case "gone":
            weights.unlink()
        case "more":
            weights.with_name("other").touch()
        case "no manifest":
            weights.with_name("checkpoint.json").write_text("{")
    assert damage(weights.parent)
    notes: list[str] = []
    assert made(tmp_path, notes).latest() is None
    assert "step-3 is damaged" in notes[0]


def test_another_version_is_refused_and_taken_when_asked(tmp_path: Path) -> None:
    write(made(tmp_path), 3)
    other = {"torch": "3", "threads": "2"}
    with pytest.raises(StageError, match=r"threads None, now 2; torch 2, now 3.*--inexact"):
        made(tmp_path, facts=other).latest()
    notes: list[str] = []
    assert made(tmp_path, notes, inexact=True, facts=other).latest()
    assert "goes on inexactly" in notes[0]


def test_another_number_of_processes_is_refused_and_to_pieces_does_not_matter(tmp_path: Path) -> None:
    write(made(tmp_path, facts={"processes": 2}), 3)
    with pytest.raises(StageError, match=r"step-3 was made with .*processes 2, now 4.*--inexact"):
        made(tmp_path, facts={"processes": 4}).latest()
    assert made(tmp_path, inexact=True, facts={"processes": 4}).latest()
    made(tmp_path / "drawn", facts={"processes": 2}).pieces().put("a", [(Completion("1"), Verdict(Label.CORRECT))])
    assert made(tmp_path / "drawn", facts={"processes": 4}).pieces().get("a")


def test_pieces_of_another_version_are_refused_too(tmp_path: Path) -> None:
    made(tmp_path).pieces()
    made(tmp_path).pieces()
    with pytest.raises(StageError, match="torch 2, now 3"):
        made(tmp_path, facts={"torch": "3"}).pieces()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 10_000])
def test_pieces_whose_facts_are_damaged_are_made_again(tmp_path: Path, content: bytes) -> None:
    made(tmp_path).pieces().put("a", [(Completion("1"), Verdict(Label.CORRECT))])
    (file,) = tmp_path.rglob("rollouts/checkpoint.json")
    file.write_bytes(content)
    assert made(tmp_path).pieces().get("a") is None
    made(tmp_path).pieces()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"files": {}}', b"\xff", b"[" * 10_000])
def test_a_checkpoint_whose_manifest_is_damaged_is_not_used(tmp_path: Path, content: bytes) -> None:
    checkpoints = made(tmp_path)
    with checkpoints.writing(3) as folder:
        (folder / "weights").touch()
    (checkpoints.folder / "step-3" / "checkpoint.json").write_bytes(content)
    (checkpoints.folder / "step-x").mkdir()
    assert checkpoints.latest() is None


def test_they_are_due_by_steps_and_by_time(tmp_path: Path) -> None:
    by_steps = made(tmp_path, every_seconds=None, every_steps=3)
    assert [step for step in range(1, 10) if by_steps.due(step)] == [3, 6, 9]
    never = made(tmp_path, every_seconds=None)
    assert not any(never.due(step) for step in range(1, 10))
    by_time = made(tmp_path, every_seconds=0.05)
    assert not by_time.due(1)
    time.sleep(0.06)
    assert by_time.due(2)


def test_dear_ones_are_made_rarely(tmp_path: Path) -> None:
    checkpoints = made(tmp_path, every_seconds=0.001)
    with checkpoints.writing(1) as folder:
        (folder / "weights").touch()
        time.sleep(0.05)
    until = time.monotonic() + 0.05 / COST * 0.5
    assert not any(checkpoints.due(2) for _ in iter(lambda: time.monotonic() < until, False))


def test_what_one_costs_is_known_to_the_next_attempt(tmp_path: Path) -> None:
    """Else its first would be made at once, however dear, and a job of an hour would do nothing else."""
    first = made(tmp_path, every_seconds=0.001)
    with first.writing(1) as folder:
        (folder / "weights").touch()
        time.sleep(0.05)
    again = made(tmp_path, every_seconds=0.001)
    assert again.latest()
    until = time.monotonic() + 0.05 / COST * 0.5
    assert not any(again.due(2) for _ in iter(lambda: time.monotonic() < until, False))


def test_what_a_stop_would_lose_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    checkpoints = made(tmp_path, notes)
    write(checkpoints, 1)
    assert notes == []
    monkeypatch.setattr("pipeline.contract.checkpoints.GRACE", 0.0)
    write(checkpoints, 2)
    write(checkpoints, 3)
    [told] = notes
    assert "and a stop leaves 0: it would lose what came after the last one" in told
    assert "retort launch --ahead" in told


def test_the_seconds_of_a_stop_are_a_number() -> None:
    assert (grace({}), grace({"RETORT_GRACE": "1770"})) == (270, 1770)
    for said in ("soon", "", "-1", "nan", "inf"):
        with pytest.raises(StageError, match="such as 270"):
            grace({"RETORT_GRACE": said})


def test_the_work_of_all_attempts_counts(tmp_path: Path) -> None:
    first = made(tmp_path)
    time.sleep(0.05)
    write(first, 1)
    again = made(tmp_path)
    again.latest()
    assert again.seconds >= 0.05


def test_machines_of_two_kinds_go_on_from_what_they_have_made_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    def of(place: str, **facts: str) -> Checkpoints:
        monkeypatch.setenv("RANK", place)
        return made(tmp_path, facts={"torch": "2", "hardware": f"kind {place}", **facts})

    write(of("0"), 3)
    for place in ("1", "0"):
        assert of(place).latest() is not None
        of(place).pieces()  # the other one's are there first
    of("0").pieces()
    of("1").pieces()
    with pytest.raises(StageError, match="made with hardware kind 0, now other"):
        of("0", hardware="other").latest()
    with pytest.raises(StageError, match="made with torch 2, now 3"):
        of("1", torch="3").latest()
