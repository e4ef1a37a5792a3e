"""Locks, JSONL, the store and the run's folder, on a real disk."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.disk import durable, locks
from pipeline.recipe.fingerprint import Fingerprint
from pipeline.store import store
from pipeline.store.run_folder import RunFolder, wall_seconds

HOLD = "import sys, time; from pathlib import Path; from pipeline.disk.locks import Lock; " \
       "lock = Lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


def test_a_lock_says_who_holds_it_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(locks.Held) as caught:
        locks.Lock(path)
    assert caught.value.holder["pid"] == other.pid
    assert f"process {other.pid} on " in str(caught.value)
    assert (locks.holder(path) or {})["pid"] == other.pid
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdout.close()
    assert locks.holder(path) is None
    with locks.Lock(path, token="mine"):
        assert (locks.holder(path) or {})["token"] == "mine"
    assert not path.exists()


def test_a_torn_row_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    durable.append_row(path, {"a": 1})
    with path.open("a") as stream:
        stream.write('{"b": 2, "torn')
    durable.append_row(path, {"c": "é\n"})
    assert durable.rows(path) == [{"a": 1}, {"c": "é\n"}]
    assert durable.rows(tmp_path / "none") == []


def test_an_artifact_exists_only_when_whole(tmp_path: Path) -> None:
    kept, print_ = store.Store(tmp_path), Fingerprint("ab" * 32, {})
    out = kept.partial("base", print_) / "out"
    (out / "model").mkdir(parents=True)
    (out / "model" / "w").write_bytes(b"1")
    assert kept.find("base", print_) is None
    store.finish(out, kept.path("base", print_), {"fingerprint": print_.digest})
    made = kept.find("base", print_)
    assert made is not None
    assert made.path.name == "base-ababababab"
    assert list(made.manifest["files"]) == ["model/w"]
    assert not out.parent.exists()
    assert kept.find("base", Fingerprint("ab" * 31 + "cd", {})) is None


def test_a_folder_without_its_manifest_is_made_again(tmp_path: Path) -> None:
    kept, print_ = store.Store(tmp_path), Fingerprint("cd" * 32, {})
    kept.path("base", print_).mkdir(parents=True)
    assert kept.find("base", print_) is None
    out = kept.partial("base", print_) / "out"
    out.mkdir(parents=True)
    store.finish(out, kept.path("base", print_), {"fingerprint": print_.digest})
    assert kept.find("base", print_) is not None


def test_links_follow_the_recipe(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    for name in ("a-1", "b-1", "a-2"):
        (tmp_path / "artifacts" / name).mkdir(parents=True)
        (tmp_path / "artifacts" / name / "stage.json").write_text("{}")
    run.link(1, "a", tmp_path / "artifacts" / "a-1")
    run.link(2, "b-x", tmp_path / "artifacts" / "b-1")
    run.link(1, "a", tmp_path / "artifacts" / "a-2")
    run.link(120, "b-x", tmp_path / "artifacts" / "b-1")
    assert os.readlink(run.path / "01-a") == "../artifacts/a-2"
    assert {name: made.path.name for name, made in run.artifacts().items()} == {"a": "a-2", "b-x": "b-1"}
    run.keep_links(["b-x"])
    assert list(run.artifacts()) == ["b-x"]


def test_wall_seconds_add_up_over_attempts() -> None:
    rows = [
        {"attempt": "x", "at": 0.0}, {"attempt": "x", "at": 5.5}, {"attempt": "y", "at": 2.0},
        {"attempt": "y", "at": 1.0}
    ]
    assert wall_seconds(rows) == 7.5


def test_json_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    durable.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        durable.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
