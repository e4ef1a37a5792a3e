from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.disk.locks import Lock
from pipeline.run import worker
from pipeline.stage import Stage
from tests.pipeline.run.test_job import a_job


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.text(max_size=20), st.text(max_size=20))
def test_streams_of_different_stages_and_seeds_differ(seed: int, other: int, name: str, another: str) -> None:
    one, two = worker.stage_seed(seed, name), worker.stage_seed(other, another)
    assert 0 <= one < 2**31
    assert (one == two) == ((seed, name) == (other, another))


def test_a_worker_without_its_runner_does_nothing(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    a_job(tmp_path, token="old").write(job)
    with Lock(tmp_path / "lock", token="new"):
        assert worker.run_job(job) == 1
    assert worker.run_job(job) == 1
    assert not (tmp_path / "events.jsonl").exists()


def test_what_a_stage_preloads_can_be_loaded() -> None:
    import importlib.util

    for module in Stage.preload:
        assert importlib.util.find_spec(module.partition(".")[0]) is not None
