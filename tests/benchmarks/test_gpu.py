"""benchmarks/gpu on a processor, with sizes that say nothing: that every part ends, and tells what it should."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def measured(out: Path, *parts: str) -> Any:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu" / "measure.py"), str(out), "--tiny", "--parts", *parts]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, cwd=out.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text())


def test_what_needs_one_process(tmp_path: Path) -> None:
    found = measured(tmp_path / "gpu.json", "agreement", "trained", "drawn")
    assert set(found["agreement"]) == {"dense", "qwen3_moe", "deepseek_v3"}
    for one in found["agreement"].values():  # here the processor is held against itself
        assert one["logprobs"] < 1e-4
        assert one["sft"] < 1e-6
        assert one["grpo"] < 1e-6
    assert set(found["trained"]) == {f"{name}_{kind}" for name in ("dense", "qwen3_moe") for kind in ("sft", "grpo")}
    assert all(0 < one["mfu"] < 1 for one in found["trained"].values())
    assert all(one["ratio"] > 0 and one["max_logprob_error"] < 1e-4 for one in found["drawn"].values())
    assert set(found["seconds"]) == {"agreement", "trained", "drawn"}


@pytest.mark.faults
def test_whole_stages(tmp_path: Path) -> None:
    found = measured(tmp_path / "gpu.json", "resumed", "memory")
    assert found["resumed"]["stopped"] == ["base", "zero"]
    assert found["resumed"]["same_bytes"] == {"base": True, "zero": True}
    assert found["memory"]["planned_gib"] > 0

