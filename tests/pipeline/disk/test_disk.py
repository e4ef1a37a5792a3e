"""JSONL, the store and the run's folder, on a real disk."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pipeline.contract.errors import RunError
from pipeline.disk import durable, hashes
from pipeline.recipe.fingerprint import Fingerprint
from pipeline.store import store
from pipeline.store.run_folder import RunFolder, wall_seconds


def test_a_torn_row_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    durable.append_row(path, {"a": 1})
    with path.open("a") as stream:
        stream.write('{"b": 2, "torn')
    durable.append_row(path, {"c": "é\n"})
    assert durable.rows(path) == [{"a": 1}, {"c": "é\n"}]
    assert durable.rows(tmp_path / "none") == []


def test_names_that_are_not_in_utf_8_come_back(tmp_path: Path) -> None:
    content = {"path": os.fsdecode(b"caf\xe9/a.yaml")}
    durable.append_row(tmp_path / "rows.jsonl", content)
    durable.write_json(tmp_path / "one.json", content)
    assert durable.rows(tmp_path / "rows.jsonl") == [durable.read_json(tmp_path / "one.json")] == [content]


def manifest(fingerprint: str) -> dict[str, object]:
    return {"name": "base", "kind": "any", "makes": "model", "fingerprint": fingerprint, "seconds": 1.0, "config": {},
            "inputs": {}, "metrics": {}}


def test_an_artifact_exists_only_when_whole(tmp_path: Path) -> None:
    kept, print_ = store.Store(tmp_path), Fingerprint("ab" * 32, {})
    out = kept.partial("base", print_) / "out"
    (out / "model").mkdir(parents=True)
    (out / "model" / "w").write_bytes(b"1")
    assert kept.find("base", print_) is None
    store.finish(out, kept.path("base", print_), manifest(print_.digest))
    made = kept.find("base", print_)
    assert made is not None
    assert made.path.name == "base-ababababab"
    assert list(made.manifest["files"]) == ["model/w"]
    assert not out.parent.exists()
    assert kept.find("base", Fingerprint("ab" * 31 + "cd", {})) is None


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"name": 5}'])
def test_a_manifest_that_cannot_be_read_is_one_line_and_its_artifact_is_not_lost(
    tmp_path: Path, text: str | None
) -> None:
    kept, print_ = store.Store(tmp_path), Fingerprint("cd" * 32, {})
    folder = kept.path("base", print_)
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "stage.json").write_text(text)
    found = kept.find("base", print_)
    assert found is not None
    with pytest.raises(RunError, match="--mend makes it again"):
        _ = found.manifest
    assert [kept.set_aside(folder).name, kept.find("base", print_)] == ["base-cdcdcdcdcd.1", None]
    folder.mkdir()
    aside = kept.set_aside(folder)
    assert aside.name == "base-cdcdcdcdcd.2"
    shutil.rmtree(aside.with_suffix(".1"))
    folder.mkdir()
    assert kept.set_aside(folder).name == "base-cdcdcdcdcd.1"
    folder.mkdir()
    assert kept.set_aside(folder).name == "base-cdcdcdcdcd.3"


def test_a_file_is_read_once_while_nothing_touches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, memory = tmp_path / "w", tmp_path / "memory.json"
    file.write_bytes(b"1")
    first = hashes.FileHashes(memory)
    assert first.remembered(file) is None
    one = first.of(file)
    assert first.remembered(file) is None  # written a moment ago: another write may leave the same times
    monkeypatch.setattr(hashes, "_SETTLED", -1.0)
    assert first.of(file) == one
    first.keep()
    second = hashes.FileHashes(memory)
    assert second.remembered(file) == one
    # The content's own time is put back, the inode's cannot be.
    times = file.stat()
    file.write_bytes(b"2")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert second.remembered(file) is None
    assert second.of(file) != one
    second.forget()
    assert (second.remembered(file), memory.exists()) == (None, False)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"'])
def test_a_torn_memory_of_hashes_is_no_reason_to_stop(tmp_path: Path, text: str) -> None:
    memory = tmp_path / "memory.json"
    memory.write_text(text)
    assert hashes.FileHashes(memory).remembered(memory) is None


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
    run.keep_links(["a-1", "b-1"])  # the recipe has become what it was before a-2
    assert list(run.artifacts()) == ["b-x"]
    assert (tmp_path / "artifacts" / "a-2").is_dir()


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
