"""The base of a model is what its weights began with, and nothing else that led to it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.exports import origins
from pipeline.exports.origins import origins_of


def stage(folder: Path, name: str, inputs: dict[str, Any], made_of: str | None, kind: str = "sft") -> Path:
    place = folder / "runs" / "artifacts" / f"{name}-0123456789"
    place.mkdir(parents=True)
    (place / "stage.json").write_text(json.dumps({
        "name": name, "kind": kind, "makes": "model", "fingerprint": "0123456789", "seconds": 1.0, "config": {},
        "inputs": inputs, "metrics": {}, "files": {}, "made_of": made_of,
    }))
    return place


def test_a_model_that_was_copied_out_of_its_runs_is_looked_for_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(tmp_path, "zero", {}, None)
    copied = tmp_path / "home" / "me" / "student"
    shutil.copytree(made, copied)
    monkeypatch.setattr(origins, "is_run", lambda folder: pytest.fail(f"{folder} is none of ours"))
    found = origins_of(copied)
    assert (found.scores, [one.name for one in found.stages]) == (None, ["zero"])


def test_runs_of_others_that_may_not_be_read_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage(tmp_path, "zero", {}, None)
    (tmp_path / "runs" / "theirs").mkdir()

    def refused(folder: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(folder / "recipe.json"))

    monkeypatch.setattr(origins, "is_run", refused)  # root, who may run this, is refused nothing
    assert origins_of(made).scores is None


def test_the_base_is_no_data_set_and_no_teacher(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    data = {"origin": "hub", "repository": "openai/gsm8k", "type": "dataset", "commit": "c"}
    teacher = {"origin": "hub", "repository": "org/teacher", "type": "model", "commit": "c"}
    others = {"openai/gsm8k": data, "org/teacher": teacher, "rows": {"origin": "path", "path": str(rows)}}
    base = {"origin": "hub", "repository": "org/base", "type": "model", "commit": "c"}
    first = stage(tmp_path, "first", {**others, "org/base": base}, "org/base")
    second = stage(tmp_path, "second", {**others, "first": {"origin": "stage", "path": str(first)}}, "first")
    found = origins_of(second)
    assert (found.hub_base, found.licence) == ("org/base", None)
    assert [one.name for one in found.stages] == ["first", "second"]
    new = origins_of(stage(tmp_path, "new", others, None))
    assert (new.hub_base, new.licence) == (None, None)


def test_only_its_own_weights_make_a_model_one_from_scratch(tmp_path: Path) -> None:
    base = {"origin": "hub", "repository": "org/base", "type": "model", "commit": "c"}
    drawn = stage(tmp_path, "drawn", {}, None, "pretrain")
    source = {"drawn": {"origin": "stage", "path": str(drawn)}}
    assert origins_of(drawn).from_scratch
    assert origins_of(stage(tmp_path, "tuned", source, "drawn")).from_scratch
    student = stage(tmp_path, "student", {"org/base": base, **source}, "org/base", "distill")
    assert not origins_of(student).from_scratch
    # What it began with was removed.
    assert not origins_of(stage(tmp_path, "lost", {"gone": {"origin": "stage", "path": "gone"}}, "gone")).from_scratch
