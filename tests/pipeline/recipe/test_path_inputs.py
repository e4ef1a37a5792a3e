from pathlib import Path

import pytest

from pipeline.contract.fields import ArtifactType
from pipeline.recipe.inputs import InputError, Source
from pipeline.recipe.path_inputs import require_usable


def source(path: Path, kind: ArtifactType) -> Source:
    return Source("mine", kind, "path", path)


def complaint(path: Path, kind: ArtifactType) -> str:
    with pytest.raises(InputError) as caught:
        require_usable(source(path, kind))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_has_a_config_weights_and_a_tokenizer(tmp_path: Path) -> None:
    assert complaint(tmp_path, "model") == "'mine' has no config.json; a model is a folder that transformers saved"
    assert "has no config.json" in complaint(tmp_path / "nothing", "model")
    (tmp_path / "config.json").write_text("{")
    assert "cannot be read as JSON" in complaint(tmp_path, "model")
    (tmp_path / "config.json").write_text("[]")
    assert "is no JSON object" in complaint(tmp_path, "model")
    (tmp_path / "config.json").write_text("{}")
    assert complaint(tmp_path, "model").startswith("'mine' has no weights (*.safetensors")
    (tmp_path / "model.safetensors").touch()
    assert complaint(tmp_path, "model").startswith("'mine' has no tokenizer (tokenizer.json")
    (tmp_path / "tokenizer.json").touch()
    require_usable(source(tmp_path, "model"))
    (tmp_path / "inner").mkdir()
    tmp_path.rename(tmp_path.with_name("model"))
    require_usable(source(tmp_path.parent, "model"))


def test_a_report_and_a_dataset_are_looked_at(tmp_path: Path) -> None:
    assert complaint(tmp_path, "report") == "'mine' has no report.json; a report is what an evaluate stage makes"
    (tmp_path / "report.json").write_text("{}")
    require_usable(source(tmp_path, "report"))
    assert "report.json has no list of rows" in complaint(tmp_path, "dataset")
    (tmp_path / "data.jsonl").write_text('{"prompt": 5, "completion": "a"}')
    assert "data.jsonl:1: 'prompt' must be text, not 5" in complaint(tmp_path, "dataset")


def test_an_artifact_says_itself_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text('{"makes": "model"}')
    require_usable(source(tmp_path, "model"))
