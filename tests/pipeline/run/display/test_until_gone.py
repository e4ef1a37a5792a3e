"""Runs whose log has no room, or is read slowly; that nobody reads any more is tried in test_runner.py."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.store.run_folder import RunFolder

RETORT = [sys.executable, "-P", "-m", "pipeline.commands.cli"]
RECIPE = "name: chain\nstages:\n  base: {kind: 'tiny.py:Make'}\n"


@pytest.mark.parametrize(("options", "errors_too"), [((), False), (("--json-log",), True)])
def test_a_log_without_room_ends_no_run(
    write_recipe: Callable[..., Path], options: tuple[str, ...], errors_too: bool
) -> None:
    path = str(write_recipe(RECIPE))
    with open("/dev/full", "w") as full:
        done = subprocess.run([*RETORT, "run", path, *options], stdout=full, timeout=300, text=True,
                              stderr=full if errors_too else subprocess.PIPE)
    assert done.returncode == 0
    assert RunFolder(Path("runs/chain")).ledger()[-1]["event"] == "finished"
    told = "the log cannot be written (No space left on device), and nothing more is shown; the run goes on"
    assert [row["text"] for row in RunFolder(Path("runs/chain")).ledger() if "log" in row.get("text", "")] == [told]
    if not errors_too:
        assert done.stderr == f"retort: {told}: see retort status runs/chain\n"


def test_a_log_that_is_read_slowly_is_waited_for(write_recipe: Callable[..., Path]) -> None:
    path = str(write_recipe(RECIPE))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # as a parent may have left it, which shares it
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, b" " * 4096):
            pass
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}  # without a buffer Python itself loses the line, and says nothing
    with subprocess.Popen([*RETORT, "run", path], stdout=writing, stderr=subprocess.PIPE, text=True,
                          env=buffered) as process:
        while not os.get_blocking(writing) and process.poll() is None:
            time.sleep(0.02)
        os.close(writing)
        with open(reading) as stream:
            lines = stream.read().splitlines()
        assert process.stderr
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert lines[-1].startswith("runs/chain is done: 1 stages")
    assert [line for line in lines if line.startswith("base  done")]
