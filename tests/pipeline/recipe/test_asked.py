"""Problems that stages ask decide what is made again, and what is wrong with them is told by `plan`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli

Write = Callable[..., Path]
RECIPE = """
stages:
  base: {kind: 'tiny.py:Make'}
  asks: {kind: 'asks.py:Ask', problems: 'sets.py:riddles:test'}
"""
ASK = '''
from typing import Annotated, ClassVar
from eval.problems import load
from pipeline.stage import ArtifactType, Asks, Context, Metrics, PlugIn, Stage
from rewards.grade import grade
from rewards.types import Completion

class Ask(Stage):
    """Grades one text for every problem."""
    kind: ClassVar[str] = "ask"
    makes: ClassVar[ArtifactType] = "report"
    preload: ClassVar[tuple[str, ...]] = ()
    problems: Annotated[str, PlugIn("problem set")]

    def asks(self, seed: int) -> list[Asks]:
        return [Asks(self.problems, 2, 0, "test")]

    def run(self, ctx: Context) -> Metrics:
        verdicts = [grade(p, Completion(r"\\\\boxed{1}")) for p in load(self.problems, 2, 0, base=self._folder)]
        (ctx.out / "verdicts").write_text(" ".join(v.label for v in verdicts))
        return {}
'''
SETS = '''
from pathlib import Path
from rewards.types import Problem

def riddles(split, n, seed):
    lines = Path(__file__).with_name("riddles.txt").read_text().split()
    return [Problem(id=str(i), prompt=line, answer="1", verifier="ver.py:v", family="x")
            for i, line in enumerate(lines)][:n]
'''
VERIFIER = '''
from rewards.types import Label, Verdict

def v(problem, completion):
    return Verdict(Label.CORRECT)
'''


@pytest.fixture
def recipe(write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write_recipe(RECIPE)
    for name, text in {"asks.py": ASK, "sets.py": SETS, "ver.py": VERIFIER, "riddles.txt": "one two"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # everything is found beside the recipe and not from here
    return path


def verdicts() -> str:
    return Path("runs/recipe/02-asks/verdicts").read_text()


@pytest.mark.parametrize(("file", "text", "then"), [
    ("ver.py", VERIFIER.replace("CORRECT", "WRONG"), "wrong wrong"), ("riddles.txt", "one three", "correct correct"),
])
def test_what_decides_a_score_makes_it_again(
    recipe: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, then: str
) -> None:
    assert cli.main(["run", str(recipe)]) == 0
    assert verdicts() == "correct correct"
    assert cli.main(["run", str(recipe)]) == 0
    assert capsys.readouterr().out.count("reused") == 2
    recipe.with_name(file).write_text(text)
    assert cli.main(["status", "recipe"]) == 0
    assert "problems of sets.py:riddles:test changed" in capsys.readouterr().out
    assert cli.main(["run", str(recipe)]) == 0
    assert capsys.readouterr().out.count("reused") == 1
    assert verdicts() == then


@pytest.mark.parametrize(("file", "text", "said"), [
    ("riddles.txt", "one", "recipe.yaml:4: asks.problems: sets.py:riddles:test holds 1 problems; 2 were asked for"),
    ("sets.py", SETS.replace("return [", "return 1 / 0 and ["), "does not give problems (ZeroDivisionError: division"),
    ("ver.py", "", "no 'v' in"),
    ("asks.py", ASK.replace("return [Asks", "return 1 / 0 or [Asks"), "asks: `asks` of Ask fails (ZeroDivisionError"),
])
def test_what_cannot_be_asked_is_told_before_any_work(
    recipe: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, said: str
) -> None:
    recipe.with_name(file).write_text(text)
    assert cli.main(["plan", str(recipe)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert said in told[0]


def test_a_folder_that_is_moved_has_the_same_fingerprints(
    recipe: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["plan", str(recipe)]) == 0
    first = capsys.readouterr().out.splitlines()[1:]
    (tmp_path / "moved").mkdir()
    for file in tmp_path.glob("*.*"):
        shutil.move(file, tmp_path / "moved" / file.name)
    assert cli.main(["plan", str(tmp_path / "moved" / recipe.name)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == first
