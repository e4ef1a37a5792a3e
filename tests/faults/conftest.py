"""Runs that are killed at chosen moments and started again, and what they have made in the end."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import recipes
from tests.launchers import CONFIGS

PARALLEL = (Path(__file__).parent / "parallel.yaml").read_text()
SMOKE = (Path(next(iter(recipes.__path__))) / "smoke.yaml").read_text()


class Killed:
    """A run in a folder of its own, to be started and killed as often as one likes."""

    def __init__(self, folder: Path, recipe: str, **environment: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(recipe)
        self.environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200", **environment}

    @property
    def printed(self) -> str:
        """What all attempts have printed."""
        return (self.folder / "printed").read_text()

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """Begin an attempt in a session of its own."""
        command = [sys.executable, "-P", "-m", "pipeline.commands.cli", "run", "recipe.yaml", *more]
        with (self.folder / "printed").open("ab") as stream:
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=stream, stderr=stream,
                                    start_new_session=True)

    def killed_when(self, moment: Callable[[], bool], *more: str) -> bool:
        """An attempt that is killed as soon as `moment` says so; False where it ended before."""
        process = self.start(*more)
        while not moment():
            if process.poll() is not None:
                return False
            time.sleep(0.001)
        killsession(process)
        return True

    def killed_after(self, seconds: float) -> bool:
        """An attempt that is killed so many seconds after its start; False where it ended before."""
        until = time.monotonic() + seconds
        return self.killed_when(lambda: time.monotonic() > until)

    def checkpoints(self, stage: str) -> list[Path]:
        """The checkpoints of an unfinished stage, with one that is being written."""
        return list((self.folder / "runs" / "artifacts" / ".partial").glob(f"{stage}-*/checkpoints/*"))

    def steps(self, stage: str) -> int:
        """The step of an unfinished stage's last checkpoint."""
        names = [path.name for path in self.checkpoints(stage) if path.name.startswith("step-")]
        return max((int(name.removeprefix("step-")) for name in names), default=0)

    def to_the_end(self, *more: str) -> dict[str, str]:
        """An attempt that is left alone, and what the run has made then."""
        code = self.start(*more).wait()
        assert code == 0, self.printed
        return made(self.folder)


def killsession(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to every process of the session, as when a machine fails; returns when all are gone."""
    while members := list(session(process.pid)):
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.poll()
        time.sleep(0.01)
    process.wait()


def session(leader: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            yield int(folder.name)


def made(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of every artifact under a folder of runs, by stage and file. Manifests, which tell times,
    are left out."""
    found: dict[str, str] = {}
    for manifest in sorted((folder / "runs" / "artifacts").glob("*/stage.json")):
        content: dict[str, Any] = json.loads(manifest.read_text())
        found |= {f"{content['name']}/{file}": digest for file, digest in content["files"].items()}
    return found


def little_run(folder: Path, cuts: str = "", head: str = "") -> Killed:
    here = Path(__file__).parent
    run = Killed(folder, head + (here / "little.yaml").read_text(), CUTS=cuts, CALLS=str(folder / "calls"))
    (folder / "power.py").write_bytes((here / "power.py").read_bytes())
    return run


@pytest.fixture
def killed(tmp_path: Path) -> Callable[..., Killed]:
    """killed("name", recipe) -> a run of that recipe in a new folder."""
    return lambda name, recipe: Killed(tmp_path / name, recipe)


@pytest.fixture
def parallel(killed: Callable[[str, str], Killed]) -> Callable[[str, str, Sequence[str]], Killed]:
    """parallel("name", kind, stages) -> a run of these stages of parallel.yaml on two processes."""

    def make(name: str, kind: str, stages: Sequence[str]) -> Killed:
        head, *written = re.split(r"\n  (?=\w+:\n)", PARALLEL)
        made = killed(name, "\n  ".join([head, *(one for one in written if one.split(":")[0] in stages)]))
        (made.folder / "config.yaml").write_text(CONFIGS[kind])
        # Of a model that knows nothing, too, rewards differ within a group.
        rule = "def luck(_problem, completion):\n    return sum(map(ord, completion.text)) % 17 / 17\n"
        (made.folder / "luck.py").write_text(rule)
        draw = random.Random(0)
        with (made.folder / "rows.jsonl").open("w") as file:
            for _ in range(64):  # a few rows are ten times as long as the others
                words = draw.choices(["Tom", "has", "3", "apples"], k=draw.choice([4, 5, 6, 60]))
                file.write(json.dumps({"prompt": "Say.", "completion": " ".join(words)}) + "\n")
        return made

    return make


@pytest.fixture
def little(tmp_path: Path) -> Callable[..., Killed]:
    """little("name", cuts="40", head="accelerate: cpu.yaml") -> a run of little.yaml in a new folder."""
    return lambda name, **more: little_run(tmp_path / name, **more)


@pytest.fixture(scope="session")
def little_made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What little.yaml makes when it is left alone."""
    return little_run(tmp_path_factory.mktemp("little") / "undisturbed").to_the_end()


@pytest.fixture
def smoke_made(smoke: Path) -> dict[str, str]:
    """What `retort run smoke` makes when it is left alone."""
    return made(smoke)


@pytest.fixture
def smoke_recipe() -> str:
    """recipes/smoke.yaml with a checkpoint every other step."""
    return SMOKE.replace("parallel: 2\n", "parallel: 2\ncheckpoints: {every_seconds: null, every_steps: 2}\n")
