import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.contract.errors import RecipeError
from pipeline.models.tokenizer import train_tokenizer
from pipeline.recipe import recipe
from pipeline.run.before import servers

TEXT = """stages:
  rl:
    kind: grpo
    model: org/base
    problems: [word_problems:train]
    steps: 1
    engine: vllm
    vllm: {python: PROGRAM}
"""


@pytest.fixture
def read(
    tmp_path: Path, tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], recipe.Recipe]:
    tiny("qwen3").save_pretrained(tmp_path / "org" / "base")
    train_tokenizer(["3"], 48).save_pretrained(tmp_path / "org" / "base")
    monkeypatch.chdir(tmp_path)

    def of(program: str) -> recipe.Recipe:
        file = tmp_path / "recipe.yaml"
        file.write_text(TEXT.replace("PROGRAM", program).replace("org/base", "./org/base"))
        return recipe.read(file)

    return of


def test_a_program_that_is_not_here_is_one_line_with_its_place(read: Callable[[str], recipe.Recipe]) -> None:
    with pytest.raises(RecipeError, match=r"recipe.yaml:2: rl\.vllm\.python: there is no program /nowhere/python here"):
        servers.check(read("/nowhere/python").steps.values())


def test_one_that_is_here_is_fine(read: Callable[[str], recipe.Recipe]) -> None:
    servers.check(read(sys.executable).steps.values())
