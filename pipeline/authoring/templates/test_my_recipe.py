from pathlib import Path

import pytest

from pipeline.recipe import recipe

FILE = Path(__file__).with_name("my_recipe.yaml")


@pytest.mark.parametrize("changes", [[], ["shrink=true"]])
def test_the_recipe_is_right(changes: list[str]) -> None:
    """Reading a recipe checks all that can be known before it runs; what is wrong is told with its line."""
    read = recipe.read(str(FILE), changes)
    assert read.name == "my_recipe"
    assert read.steps
