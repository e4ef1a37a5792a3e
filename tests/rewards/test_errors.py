"""Every error that a person can mend has one of the exit codes that pipeline/commands/README.md lists."""

import importlib
import re
from pathlib import Path

from rewards.errors import RetortError
from tests import house

ROOT = Path(__file__).resolve().parents[2]
ASKED_WRONGLY = {
    "RecipeError", "CommandError", "ProblemSetError", "ComparisonError", "RegistryError", "InputError", "YamlError",
    "ServerError", "RowFileError", "ToolError", "FamilyError",
    "Overlong", "NothingInCommonError",
}
"""What can be mended by asking for something else ends with 2; all the others say that something failed."""


def classes(of: type[RetortError]) -> list[type[RetortError]]:
    return [found for one in of.__subclasses__() for found in (one, *classes(one))]


def test_every_error_has_its_exit_code() -> None:
    for file in house.sources(ROOT):
        if "RetortError" in file.read_text():
            importlib.import_module(house.name_of(ROOT, file))
    codes = {one.__name__: one.exit_code for one in classes(RetortError) if not one.__module__.startswith("tests")}
    assert len(codes) > 15
    for name, code in codes.items():
        assert code == (143 if name == "StageStopped" else 2 if name in ASKED_WRONGLY else 1), name


def test_the_readme_lists_the_codes() -> None:
    told = re.findall(r"^\| ([0-9]+) \|", (ROOT / "pipeline" / "commands" / "README.md").read_text(), re.MULTILINE)
    assert told == ["0", "1", "2", "129", "130", "138", "141", "143"]
