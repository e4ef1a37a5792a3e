"""README.md shows what works: its files make a recipe that is read, links lead somewhere, commands are there."""

import re
from pathlib import Path

import pytest

from eval.problems import load
from pipeline.commands import cli
from pipeline.recipe import recipe, trust
from pipeline.recipe.inputs import Source
from rewards.grade import grade
from rewards.types import Completion

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "pipeline" / "commands" / "README.md").read_text(encoding="utf-8")
GUIDES = [ROOT / name for name in (
    "README.md", "README.ko.md", "CONTRIBUTING.md", "benchmarks/README.md", "rewards/README.md", "eval/README.md",
    "pipeline/README.md", "pipeline/commands/README.md", "recipes/README.md", "examples/retort-example/README.md",
)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the four files of "Bring your own", the current one."""
    blocks = re.findall(r"^```(yaml|json|python)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    for kind, text in blocks:
        name = "capitals.jsonl" if kind == "json" else text.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(text)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "capitals.jsonl", "mine.yaml", "my_rule.py", "my_verifier.py"]
    trust.remember([tmp_path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_files_of_ones_own_make_a_recipe_and_grade(folder: Path) -> None:
    def resolve_hub(source: Source) -> str:
        return f"commit of {source.reference}"

    read = recipe.read("mine.yaml", resolve_hub=resolve_hub)
    assert {use.reference for use in read.steps["rl"].plug_ins} == {"capitals.jsonl", "my_rule.py:brevity"}
    korea, _ = load("capitals.jsonl", base=folder)
    for text, label in (("<answer>seoul</answer>", "correct"), ("<answer>Busan</answer>", "wrong")):
        assert grade(korea, Completion(text)).label == label


def anchors(file: Path) -> set[str]:
    """What can stand behind # in a link to this file: its headings, as they are spelled in addresses."""
    titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.relative_to(ROOT)))
def test_links_lead_somewhere(guide: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", guide.read_text(encoding="utf-8"))
    for place, _, anchor in (link.partition("#") for link in links if "://" not in link):
        target = guide.parent / place if place else guide
        assert target.exists(), f"{guide.name} leads to {place}"
        assert not anchor or anchor in anchors(target), f"{guide.name} leads to {place}#{anchor}"


def test_every_command_has_an_example() -> None:
    assert set(cli.SUMMARIES) <= set(re.findall(r"^retort ([\w-]+)", COMMANDS, re.MULTILINE))
