"""What a person means by a model on the command line, where its name could be read in two ways."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from pipeline.contract.errors import CommandError
from pipeline.store.model_reference import model_of

COMMIT = "c0ffee" * 6 + "c0de"


def saved(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "model.safetensors").touch()
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_folder_is_meant_before_a_run_and_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path / "co:lon")
    assert model_of("./co:lon") == (Path("co:lon"), "co:lon")
    monkeypatch.chdir(folder)
    assert model_of(".")[1] == "co:lon"


def test_a_revision_of_a_hub_model_is_loaded_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cached = tmp_path / "hub" / "models--org--some"
    snapshot = saved(cached / "snapshots" / COMMIT)
    (cached / "refs").mkdir()
    for name in ("main", "v1"):
        (cached / "refs" / name).write_text(COMMIT)
    assert model_of("org/some@v1") == (snapshot, "some@v1")
    assert model_of("org/some") == ("org/some", "some")


@pytest.mark.usefixtures("run")
def test_a_run_without_a_model_says_so() -> None:
    with pytest.raises(CommandError, match="chain has no finished model 'base'; it has none"):
        model_of("chain:base")
