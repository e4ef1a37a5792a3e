"""Runs that are killed at chosen moments and started again, and what they have made in the end."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

RETORT = [sys.executable, "-P", "-m", "pipeline.cli"]


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """`retort ...` in a session of its own, with what it prints in folder/printed."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "printed").open("ab") as stream:
        return subprocess.Popen([*RETORT, *words], cwd=folder, env=env, stdout=stream, stderr=stream, start_new_session=True)


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to every process of the session, as when a machine fails; returns when all are gone."""
    while members := list(_session(process.pid)):
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.poll()
        time.sleep(0.02)
    process.wait()


def _session(leader: int) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            yield int(folder.name)


def run_with_kills(folder: Path, words: list[str], kills: list[float]) -> str:
    """Start the run, kill it `kills[0]` seconds later, and so on; then let it end. Returns all that it printed."""
    for seconds in kills:
        process = start(folder, *words)
        try:
            process.wait(timeout=seconds)
            break  # it has ended before
        except subprocess.TimeoutExpired:
            kill_session(process)
    code = start(folder, *words).wait()
    printed = (folder / "printed").read_text()
    assert code == 0, printed
    return printed


def made(runs: Path) -> dict[str, str]:
    """SHA-256 of every file of every artifact, by stage and file; timings are in manifests alone, which are left out."""
    found: dict[str, str] = {}
    for manifest in sorted((runs / "artifacts").glob("*/stage.json")):
        content = json.loads(manifest.read_text())
        found |= {f"{content['name']}/{file}": digest for file, digest in content["files"].items()}
    return found


def moments(seed: int, count: int, longest: float) -> list[float]:
    """Seeded random moments, in seconds."""
    rng = random.Random(seed)
    return [rng.uniform(0.5, longest) for _ in range(count)]
