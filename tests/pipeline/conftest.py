import os
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


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test may reach the hub or see the person's cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    assert "RANK" not in os.environ
