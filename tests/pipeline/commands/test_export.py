"""`retort export`: folders whose card says what they came from, and errors in one line."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands import cli
from pipeline.models import pretrained
from pipeline.models.mtp import module, saved

pytest.importorskip("gguf", reason="needs gguf: pip install 'retort[gguf]'")


def test_a_model_of_a_run_is_exported_with_its_card(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", f"{smoke}/runs/smoke:student", "--to", "ollama", "--type", "Q8_0"]) == 0
    folder = tmp_path / "exports" / "student-ollama"
    assert capsys.readouterr().out == "exports/student-ollama: README.md there says how it is loaded\n"
    assert sorted(file.name for file in folder.iterdir()) == ["Modelfile", "README.md", "student.gguf"]
    assert list(folder.parent.iterdir()) == [folder]
    card = (folder / "README.md").read_text()
    assert card.startswith("---\npipeline_tag: text-generation\ntags:\n- retort\n---\n\n# student, as a model for")
    assert "ollama create student -f Modelfile" in card
    assert "| programs |" in card
    lineage = card.partition("## Lineage")[2]
    assert lineage.index("| student_base | pretrain |") < lineage.index("| student | distill | student_base, traces |")
    assert str(tmp_path) not in card
    assert str(smoke) not in card
    assert cli.main(["export", f"{smoke}/runs/smoke:student", "--to", "ollama"]) == 2
    assert capsys.readouterr().err == "exports/student-ollama is there already; give another --out, or remove it\n"


def test_the_licence_of_a_base_is_in_the_card(smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(next((smoke / "runs" / "smoke").glob("*-student_base")) / "model", "given")
    assert cli.main(["export", "given", "--to", "vllm", "--type", "float32", "--out", "first"]) == 0
    assert "The licence of the base is not known here" in Path("first/README.md").read_text()
    Path("given/README.md").write_text("---\nlicense: apache-2.0\n---\n# A base\n")
    assert cli.main(["export", "given", "--to", "vllm", "--type", "float32", "--out", "second"]) == 0
    assert "The base is under apache-2.0" in Path("second/README.md").read_text()
    assert Path("second/model.safetensors").read_bytes() == Path("given/model.safetensors").read_bytes()


def test_the_folder_one_is_in_has_its_own_name(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has a module for multi-token prediction beside it, too, of which is said that it is left out."""
    given = tmp_path / "given"
    shutil.copytree(next((smoke / "runs" / "smoke").glob("*-student_base")) / "model", given / "model")
    model = pretrained.load(given)[0]
    module.attach(model, module.Mtp(model))
    saved.save(model, given)
    monkeypatch.chdir(given)
    assert cli.main(["export", ".", "--to", "vllm"]) == 0
    note, done = capsys.readouterr().out.splitlines()
    assert "mtp.safetensors" in note
    assert done == "exports/given-vllm: README.md there says how it is loaded"
    card = Path("exports/given-vllm/README.md").read_text()
    assert "\n# given, as a folder for vLLM" in card
    assert f"- {note}" in card


def empty(folder: Path) -> Path:
    """A folder with the files of a model, and nothing in them."""
    made = folder / "empty"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    for name in ("model.safetensors", "tokenizer.json"):
        (made / name).write_text("")
    return made


@pytest.mark.parametrize(("words", "said"), [
    (["--to", "ggfu"], "--to: there is no format 'ggfu'; did you mean 'gguf'?"),
    (["--to", "gguf", "--type", "Q4_K"], "--type: gguf stores no weights in Q4_K; give one of F32, F16, BF16, Q8_0"),
    (["--to", "fp8", "--type", "F16"], "--type: fp8 stores no weights in F16; it has one type alone; leave --type out"),
    (["--to", "vllm", "--type", "Q8_0"], "--type: vllm stores no weights in Q8_0; give one of bfloat16, float16,"),
    (["--to", "gguf"], "{place} does not load as a model: "),
])
def test_what_cannot_be_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: Any, said: str
) -> None:
    assert cli.main(["export", str(empty(tmp_path)), *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(said.format(place=tmp_path / "empty"))


def test_a_missing_package_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "gguf" else found(name, *more))
    assert cli.main(["export", str(empty(tmp_path)), "--to", "gguf"]) == 2
    assert capsys.readouterr().err == "--to gguf needs the package gguf: pip install 'retort[gguf]'\n"
