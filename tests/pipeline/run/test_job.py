"""Jobs are read as they were written."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract.checkpoints import CheckpointSchedule
from pipeline.run.job import Job

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8,
)


def a_job(folder: Path, token: str = "", **config: object) -> Job:
    return Job(
        name="zero", kind="grpo", folder=folder, config=config, seed=3, threads=2,
        sources={"base": {"origin": "path", "path": "models/base"}}, accelerate=None,
        out=folder / "out", artifact=folder / "zero-1",
        events=folder / "events.jsonl", lock=folder / "lock", token=token, sandbox_at_least="L1",
        checkpoints=folder / "checkpoints", schedule=CheckpointSchedule(every_seconds=None, every_steps=4),
        inexact=False, computed={"compile": True}, manifest={"fingerprint": "f"}, report_to=[], recipe="mine",
        run=folder / "run",
    )


@given(st.dictionaries(st.text(), values))
def test_a_job_is_read_as_it_was_written(tmp_path_factory: object, config: dict[str, object]) -> None:
    folder = tmp_path_factory.mktemp("job")  # type: ignore[attr-defined]
    job = a_job(folder, "token", **config)
    job.write(folder / "job.json")
    assert Job.read(folder / "job.json") == job
