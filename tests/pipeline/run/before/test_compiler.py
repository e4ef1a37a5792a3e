"""What `compile: true` needs on a processor is looked for before any work."""

from pathlib import Path

import pytest

from pipeline.contract.errors import RecipeError
from pipeline.recipe import recipe
from pipeline.run.before import compiler

RECIPE = """\
stages:
  base:
    kind: pretrain
    steps: 8
    compile: true
    architecture: {model_type: qwen3, hidden_size: 32, num_hidden_layers: 1, intermediate_size: 32}
  tuned: {kind: sft, model: base, data: rows.jsonl}
"""


def check(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    compiler.check(recipe.read(str(folder / "recipe.yaml"), resolve_hub=lambda _: "").steps.values())


def test_a_compiler_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RecipeError) as told:
        check(tmp_path)
    assert str(told.value).endswith(
        "base.compile: on a processor torch.compile needs a C++ compiler, and no-such-compiler is not on PATH (CXX "
        "names another); install it, or leave compile out"
    )


def test_headers_that_are_not_there_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "sh")  # found, and not run
    monkeypatch.setattr(compiler.sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(RecipeError, match=r"Python\.h is not there"):
        check(tmp_path)
    (tmp_path / "Python.h").touch()
    check(tmp_path)
