"""Whole runs of tiny stages, in real processes."""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.disk import durable
from pipeline.store.run_folder import RunFolder, wall_seconds
from pipeline.store.store import Store

Write = Callable[..., Path]
RETORT = [sys.executable, "-P", "-m", "pipeline.commands.cli"]

CHAIN = """\
name: chain
parallel: 2
stages:
  base: {kind: "tiny.py:Make"}
  other: {kind: "tiny.py:Make"}
  traces: {kind: "tiny.py:Write", model: base, others: [other]}
  student: {kind: "tiny.py:Learn", data: traces}
"""


def retort(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RETORT, *words], capture_output=True, text=True, timeout=120)


@contextlib.contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    command = [*RETORT, *words]
    # What ignores SIGHUP, as `nohup make test` does, hands that on.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
                               preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def manifest(run: str, name: str) -> dict[str, Any]:
    return RunFolder(Path("runs") / run).artifacts()[name].manifest


def events(run: str) -> list[tuple[str, str]]:
    return [(row["stage"], row["event"]) for row in RunFolder(Path("runs") / run).ledger() if row["event"] != "note"]


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.02)
    return found


def stage_pid(run: str, name: str) -> int | None:
    rows = durable.rows(Path("runs") / run / "logs" / f"{name}.events.jsonl")
    return next((int(row["pid"]) for row in rows if row["event"] == "started"), None)


def lives(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_run_makes_everything_once(write_recipe: Write) -> None:
    path = str(write_recipe(CHAIN))
    first = retort("run", path)
    assert first.returncode == 0, first.stderr
    run = Path("runs/chain")
    assert [p.name for p in sorted(run.glob("0*"))] == ["01-base", "02-other", "03-traces", "04-student"]
    assert (run / "03-traces" / "data.jsonl").read_text().count("\n") == 2
    assert durable.rows(run / "01-base" / "metrics.jsonl") == [{"step": 0}, {"step": 1}]
    assert set(manifest("chain", "base")["files"]) == {"metrics.jsonl", "number.txt"}
    assert manifest("chain", "traces")["inputs"]["base"]["fingerprint"] == manifest("chain", "base")["fingerprint"]
    assert not list(Path("runs/artifacts/.partial").iterdir())
    second = retort("run", path)
    assert second.returncode == 0
    assert second.stdout.count("reused") == 4
    assert events("chain")[-6:] == [("run", "began"), ("base", "reused"), ("other", "reused"), ("traces", "reused"),
                                    ("student", "reused"), ("run", "finished")]
    assert wall_seconds(RunFolder(run).ledger()) > 0


def test_stages_are_processes_of_their_own_and_run_beside_each_other(write_recipe: Write) -> None:
    path = write_recipe(CHAIN.replace('"tiny.py:Make"', '"tiny.py:Make", wait: 1.0, threads: 1'))
    assert retort("run", str(path)).returncode == 0
    base, other = (manifest("chain", name)["metrics"] for name in ("base", "other"))
    assert base["pid"] == base["group"] != other["pid"]
    assert base["began"] < other["ended"]
    assert other["began"] < base["ended"]
    assert base["omp"] == "1"


SERVED = """\
name: served
parallel: 2
stages:
  one: {kind: "served.py:Ask", wait: 0.3, threads: 1, engine: vllm, vllm: {url: "http://localhost:8000"}}
  two: {kind: "served.py:Ask", wait: 0.3, threads: 1, engine: vllm, vllm: {url: "http://localhost:8000/"}}
"""


@pytest.mark.parametrize("of_another_run", [False, True])
def test_stages_that_send_their_model_to_one_server_run_one_after_the_other(
    write_recipe: Write, monkeypatch: pytest.MonkeyPatch, of_another_run: bool
) -> None:
    path = write_recipe(SERVED)
    (path.parent / "served.py").write_text(
        "from tiny import Make\nfrom pipeline.serving.section import ServedEngines\n"
        "class Ask(ServedEngines, Make):\n    kind = 'ask'\n")
    monkeypatch.setenv("PYTHONPATH", f"{path.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    if of_another_run:
        lock = Store(Path("runs")).server_lock("http://localhost:8000")
        with started("run", str(path)) as process:
            ledger = Path("runs/served/ledger.jsonl")
            wait_for(lambda: ledger.exists() and "is drawing from http://localhost" in ledger.read_text(), 60)
            lock.release()
            process.communicate(timeout=60)
        assert process.returncode == 0
    else:
        assert retort("run", str(path)).returncode == 0
    one, two = (manifest("served", name)["metrics"] for name in ("one", "two"))
    assert one["ended"] <= two["began"] or two["ended"] <= one["began"]


def test_a_library_that_ends_the_process_of_stages_fails_the_run(
    write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe("name: broken\nstages:\n  one: {kind: 'broken.py:Needs'}\n")
    (path.parent / "broken.py").write_text(
        "from tiny import Make\nclass Needs(Make):\n    kind = 'needs'\n    preload = ('bad_library',)\n")
    (path.parent / "bad_library.py").write_text("raise RuntimeError('an operator does not exist')\n")
    monkeypatch.setenv("PYTHONPATH", f"{path.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    found = retort("run", str(path))
    assert found.returncode == 1, found.stdout
    assert "the process that stages are forked from ended" in found.stdout + found.stderr
    assert ("one", "failed") in events("broken")


def test_wide_stages_wait_for_room(write_recipe: Write) -> None:
    path = write_recipe(CHAIN.replace('"tiny.py:Make"}', '"tiny.py:Make", wait: 0.1, threads: 3}'))
    assert retort("run", str(path)).returncode == 0
    base, other = (manifest("chain", name)["metrics"] for name in ("base", "other"))
    assert base["ended"] <= other["began"]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(write_recipe: Write) -> None:
    path = str(write_recipe(CHAIN))
    for words in (["--runs", "a"], ["--runs", "b"], ["--runs", "a", "--set", "seed=1"]):
        assert retort("run", path, *words).returncode == 0

    def files(run: str) -> dict[str, Any]:
        return {name: made.manifest["files"] for name, made in RunFolder(Path(run)).artifacts().items()}

    assert files("a/chain") == files("b/chain")
    assert files("a/chain") != files("a/chain-seed=1")
    number = json.dumps(files("a/chain")["base"]["number.txt"])
    assert number != json.dumps(files("a/chain")["other"]["number.txt"])


def test_torch_gets_the_threads_of_the_stage_after_the_fork(write_recipe: Write) -> None:
    path = write_recipe("name: heavy\nstages:\n  one: {kind: 'tiny.py:Heavy', threads: 1}\n"
                        "  two: {kind: 'tiny.py:Heavy', threads: 2}\n")
    done = retort("run", str(path))
    assert done.returncode == 0, done.stdout
    assert [manifest("heavy", name)["metrics"]["threads"] for name in ("one", "two")] == [1, 2]
    # The same sum every time, whatever threads share it.
    assert [manifest("heavy", name)["metrics"]["gradients"] for name in ("one", "two")] == [1, 1]


LESS = "`retort plan` says what would fit, and `retort run --inexact` goes on from its checkpoint with another at_once"


@pytest.mark.parametrize(("end", "expected"), [
    ("stage error", "other    failed: nothing to amplify at all\n"),
    ("crash", "other    failed: KeyError: 'boom'; the traceback is in runs/ends/logs/other.log\n"),
    ("no memory", "other    failed: MemoryError: no room for 9 GiB; the traceback is in runs/ends/logs/other.log; "
     f"{LESS}\n"),
    ("kill", "other    failed: its process was ended by SIGKILL (out of memory?); see runs/ends/logs/other.log; "
     f"{LESS}\n"),
])
def test_a_failure_is_one_line_and_keeps_what_is_done(write_recipe: Write, end: str, expected: str) -> None:
    text = CHAIN.replace('other: {kind: "tiny.py:Make"}', f'other: {{kind: "tiny.py:Make", end: {end}, steps: 1}}')
    text = text.replace('base: {kind: "tiny.py:Make"}', 'base: {kind: "tiny.py:Make", wait: 0.3}')
    path = str(write_recipe(text))
    done = retort("run", path, "--name", "ends")
    assert done.returncode == 1
    assert expected in done.stdout
    assert f"To go on: retort run {path} --name ends" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert ("Traceback" in Path("runs/ends/logs/other.log").read_text()) == (end in ("crash", "no memory"))
    assert ("base", "finished") in events("ends")  # it ran on beside the one that failed
    assert ("traces", "started") not in events("ends")
    assert retort("run", path, "--name", "ends", "--set", "other.end=well").returncode == 0
    assert events("ends").count(("base", "finished")) == 1


@pytest.mark.parametrize(("number", "code"), [
    (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 138),
])
def test_a_stopped_run_can_be_continued(write_recipe: Write, number: signal.Signals, code: int) -> None:
    path = str(
        write_recipe(CHAIN.replace('other: {kind: "tiny.py:Make"', 'other: {kind: "tiny.py:Make", wait: 9, end: child'))
    )
    with started("run", path) as process:
        pid = wait_for(lambda: stage_pid("chain", "other"))
        wait_for(lambda: ("base", "finished") in events("chain"))
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert f"stopped by {number.name}. Finished stages are kept. To go on: retort run {path}" in out
    assert err == ""
    assert not lives(pid)
    assert ("other", "stopped") in events("chain")
    again = retort("run", path, "--name", "chain", "--set", "other.wait=0")
    assert again.returncode == 0
    assert "base     made before, reused" in again.stdout


@pytest.mark.parametrize("options", [(), ("--json-log",)])
def test_a_run_that_nobody_reads_any_more_is_stopped_in_order(write_recipe: Write, options: tuple[str, ...]) -> None:
    path = str(write_recipe("name: chain\nstages:\n  base: {kind: 'tiny.py:Make', end: orderly}\n"))
    with started("run", path, *options) as process:
        assert process.stdout
        assert process.stderr
        while "base" not in process.stdout.readline():  # as `| head` does, which leaves before the stage's note
            pass
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == ""
    assert Path("runs/chain/ended in order").exists()
    assert events("chain")[-2:] == [("base", "stopped"), ("run", "stopped")]


def test_a_second_signal_leaves_at_once(write_recipe: Write) -> None:
    path = str(write_recipe("stages:\n  base: {kind: 'tiny.py:Make', end: stubborn}\n", "stays.yaml"))
    with started("run", path) as process:
        pid = wait_for(lambda: stage_pid("stays", "base"))
        wait_for(lambda: "ignores SIGTERM" in Path("runs/stays/logs/base.events.jsonl").read_text())
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # one stop may come twice
        time.sleep(1.2)
        assert process.poll() is None
        process.send_signal(signal.SIGUSR1)  # another kind of it is no second one
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=2) == 130
    wait_for(lambda: not lives(pid), 5.0)


def test_a_stage_that_takes_longer_than_a_stop_leaves_is_told_of(
    write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETORT_GRACE", "1")
    path = str(write_recipe("stages:\n  base: {kind: 'tiny.py:Make', end: stubborn}\n", "late.yaml"))
    with started("run", path) as process:
        wait_for(lambda: stage_pid("late", "base"))
        wait_for(lambda: "ignores SIGTERM" in Path("runs/late/logs/base.events.jsonl").read_text())
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "stopped by SIGTERM, and base killed after 1 seconds: what came after the last checkpoint is lost. " in out


def test_no_stage_outlives_a_killed_runner(write_recipe: Write) -> None:
    path = str(write_recipe(CHAIN.replace('{kind: "tiny.py:Make"}', '{kind: "tiny.py:Make", wait: 30}')))
    with started("run", path) as process:
        pids = [wait_for(lambda name=name: stage_pid("chain", name)) for name in ("base", "other")]
        process.kill()
        process.wait()
        wait_for(lambda: not any(lives(pid) for pid in pids), 5.0)
    assert not list(Path("runs/artifacts").glob("base-*"))


def test_what_a_stage_leaves_running_is_ended(write_recipe: Write) -> None:
    path = write_recipe("stages:\n  base: {kind: 'tiny.py:Make', end: child}\n", "leaves.yaml")
    assert retort("run", str(path)).returncode == 0
    child = int(Path("runs/leaves/01-base/child").read_text())
    wait_for(lambda: not lives(child), 5.0)


def test_a_second_run_of_the_same_name_says_who_holds_it(write_recipe: Write) -> None:
    path = str(write_recipe(CHAIN.replace('{kind: "tiny.py:Make"}', '{kind: "tiny.py:Make", wait: 30}')))
    with started("run", path) as process:
        wait_for(lambda: stage_pid("chain", "base"))
        second = retort("run", path)
        assert second.returncode == 1
        assert second.stderr.startswith(f"run 'chain' is worked on by process {process.pid} on ")
        assert "running now" in retort("status", "chain").stdout


def test_two_runs_never_make_one_artifact_twice(write_recipe: Write) -> None:
    path = str(write_recipe("name: shared\nstages:\n  base: {kind: 'tiny.py:Make', wait: 2.0}\n"))
    with started("run", path) as first:
        wait_for(lambda: stage_pid("shared", "base"))
        second = retort("run", path, "--name", "second")
        assert second.returncode == 0
        assert first.wait(timeout=60) == 0
    assert f"waits: process {first.pid} on" in second.stdout
    assert events("second") == [("run", "began"), ("base", "reused"), ("run", "finished")]


def test_a_changed_recipe_moves_the_links_of_its_run(write_recipe: Write) -> None:
    path = str(write_recipe(CHAIN))
    assert retort("run", path).returncode == 0
    before = os.readlink("runs/chain/01-base")
    shorter = CHAIN.replace('base: {kind: "tiny.py:Make"}', 'base: {kind: "tiny.py:Make", steps: 3}')
    write_recipe(shorter[: shorter.index("  student:")])
    status = retort("status", "chain").stdout
    assert "to be made again" in status
    assert "steps 2 -> 3" in status
    assert retort("run", path).returncode == 0
    assert os.readlink("runs/chain/01-base") != before
    assert not Path("runs/chain/04-student").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("to", ["group", "everyone", "stage"])
def test_a_signal_to_the_group_or_to_everyone_leaves_what_ctrl_c_leaves(
    write_recipe: Write, number: signal.Signals, to: str
) -> None:
    """A scheduler sends it to the runner's process group or to every process of the job."""
    if to == "stage" and number != signal.SIGTERM:
        pytest.skip("stages leave it to the runner")
    other = 'other: {kind: "tiny.py:Make"'
    path = str(write_recipe(CHAIN.replace(other, f"{other}, end: orderly")))
    with started("run", path) as process:
        stage = wait_for(lambda: stage_pid("chain", "other"))
        wait_for(lambda: "waits to be stopped" in Path("runs/chain/logs/other.events.jsonl").read_text())
        if to == "stage":
            os.kill(stage, number)
        else:
            os.killpg(process.pid, number)
        if to == "everyone":
            with contextlib.suppress(ProcessLookupError):  # the runner may have ended it already
                os.killpg(stage, number)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert "To go on: retort run" in out
    assert ("other", "stopped") in events("chain")
    assert (Path("runs/chain") / "ended in order").exists()


def test_what_nohup_ignores_stays_ignored(write_recipe: Write) -> None:
    path = str(write_recipe(CHAIN.replace('base: {kind: "tiny.py:Make"', 'base: {kind: "tiny.py:Make", wait: 0.5')))
    command = ["nohup", sys.executable, "-P", "-m", "pipeline.commands.cli", "run", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        wait_for(lambda: stage_pid("chain", "base"))
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "is done" in out


def test_a_portable_run_computes_with_avx2(write_recipe: Write) -> None:
    path = str(write_recipe("name: heavy\nstages:\n  one: {kind: 'tiny.py:Heavy'}\n"))
    done = retort("run", path, "--portable", "--set", "one.steps=1")
    if platform.machine() != "x86_64":
        assert done.returncode == 2
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert manifest("heavy-one.steps=1", "one")["hardware"] == "x86_64 AVX2"
