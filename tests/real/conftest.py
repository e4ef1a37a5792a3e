"""Recipes of a real model: run whole once for the tests of a file, and killed and started again by them."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def command(request: pytest.FixtureRequest) -> Sequence[str]:
    """What runs the recipe that the file names as RECIPE."""
    return [sys.executable, "-P", "-m", "pipeline.commands.cli", "run", request.module.RECIPE]


@pytest.fixture(scope="module")
def run(command: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs in which it was run, undisturbed."""
    folder = tmp_path_factory.mktemp("real")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return folder / "runs"


@pytest.fixture
def artifact() -> Callable[[Path, str], Path]:
    """artifact(runs, "rl") is the folder of what that stage made."""

    def only(runs: Path, stage: str) -> Path:
        [found] = (runs / "artifacts").glob(f"{stage}-*")
        return found

    return only
