"""benchmarks/gpu on a processor, with sizes that say nothing: that every part ends, and tells what it should."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.bench import rollouts, train

FOLDER = Path(__file__).parents[2] / "benchmarks" / "gpu"

Measured = Callable[..., Any]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """measured("agreement") -> what these parts have found."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(rollouts, "peak", lambda *_, **__: 1e12)  # which takes longer here than all that it divides

    def run(*parts: str, fails: bool = False) -> Any:
        monkeypatch.setattr(sys, "argv", ["measure.py", str(tmp_path / "gpu.json"), "--tiny", "--parts", *parts])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(FOLDER / "measure.py"), run_name="__main__")
        assert ended.value.code == int(fails)
        return json.loads((tmp_path / "gpu.json").read_text())

    return run


def test_what_needs_one_process(measured: Measured) -> None:
    found = measured("agreement", "trained", "drawn")
    assert set(found["agreement"]) == {"dense", "qwen3_moe", "deepseek_v3"}
    for one in found["agreement"].values():  # here the processor is held against itself
        assert one["logprobs"] < 1e-4
        assert one["sft"] < 1e-6
        assert one["grpo"] < 1e-6
    assert set(found["trained"]) == {f"{name}_{kind}" for name in ("dense", "mixture") for kind in ("sft", "grpo")}
    assert all(0 < one["mfu"] < 1 for one in found["trained"].values())
    assert all(one["ratio"] > 0 and one["max_logprob_error"] < 1e-4 for one in found["drawn"].values())
    assert set(found["drawn"]) == {"dense_16", "mixture_16"}
    assert set(found["seconds"]) == {"agreement", "trained", "drawn"}


def test_what_was_measured_before_something_failed_is_kept(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise KeyError("head_dim")

    monkeypatch.setattr(train, "grpo_seconds", refuses)
    found = measured("trained", fails=True)
    assert found["trained"]["dense_sft"]["tokens"] > 0
    assert found["trained"]["failed"].startswith("KeyError")


@pytest.mark.faults
def test_whole_stages(measured: Measured) -> None:
    found = measured("resumed", "memory")
    assert found["resumed"]["stopped"] == ["base", "zero"]
    assert found["resumed"]["same_bytes"] == {"base": True, "zero": True}
    assert found["memory"]["planned_gib"] > 0
