from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli
from pipeline.store.run_folder import RunFolder

RECIPE = """
name: chain
stages:
  base: {kind: 'tiny.py:Make'}
  data: {kind: 'tiny.py:Write', model: base}
"""


@pytest.fixture
def run(write_recipe: Callable[..., Path]) -> RunFolder:
    """A finished run of two stages."""
    assert cli.main(["run", str(write_recipe(RECIPE))]) == 0
    return RunFolder(Path("runs/chain"))
