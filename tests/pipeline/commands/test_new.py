"""`retort new`: what it writes works at once, and it overwrites and hides nothing."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.authoring.templates import TEMPLATES
from pipeline.commands import cli
from pipeline.disk import durable
from pipeline.recipe import recipe, trust
from pipeline.store.run_folder import RunFolder
from rewards.types import Completion, Label, Problem, Verdict

RECIPE = """\
stages:
  base: {kind: "tiny.py:Make"}
  traces: {kind: "tiny.py:Write", model: base}
  student: {kind: "tiny.py:Learn", data: traces, reward: {rules: {my_rule.py:my_rule: {weight: 0.5, most: 1}}}}
"""
NAMES = {"recipe": "first-try", "stage": "short_rows", "problems": "sums_of_two", "verifier": "nearly",
         "rule": "brief"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each kind."""
    folder = tmp_path_factory.mktemp("written")
    for what, name in NAMES.items():
        assert cli.main(["new", what, name, "--folder", str(folder)]) == 0
    return folder


def test_every_kind_is_tried() -> None:
    assert set(NAMES) == set(TEMPLATES)


def test_each_has_a_test_that_passes(written: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=written, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "17 passed" in done.stdout


def test_no_name_of_a_template_is_left(written: Path) -> None:
    for what, name in NAMES.items():
        files = TEMPLATES[what].names(name)
        left = [word for file in files for word in re.findall(r"my_\w+|My[A-Z]\w+", (written / file).read_text())]
        assert set(left) == ({"my_problems", "my_rule"} if what == "recipe" else set())
    assert {file.name for file in written.glob("*.*")} == {
        "first-try.yaml", "test_first-try.py", "short_rows.py", "test_short_rows.py", "sums_of_two.py",
        "test_sums_of_two.py", "nearly.py", "test_nearly.py", "brief.py", "test_brief.py",
    }


def test_the_plug_ins_work_in_the_recipe_as_it_is_told(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each step that the command tells of, with what it wrote before."""
    text = (written / "first-try.yaml").read_text()
    text = text.replace("[programs:train]", "[sums_of_two.py:sums_of_two:train]")
    text = text.replace("{format: 0.2}", "{brief.py:brief: {weight: 0.1, most: 200}}")
    problems = "problems: ['rows.jsonl?verifier=nearly.py:nearly'], problems_each: 1"
    text += f"  traces: {{kind: sample, model: zero, {problems}}}\n"
    text += "  short: {kind: short_rows.py:ShortRows, data: traces, most_words: 200}\n"
    (written / "rows.jsonl").write_text('{"prompt": "What is 22 / 7?", "answer": "3.142857"}\n')
    (written / "all.yaml").write_text(text)
    try:
        assert cli.main(["plan", str(written / "all.yaml")]) == 0
    finally:
        for name in ("rows.jsonl", "all.yaml"):
            (written / name).unlink()
    assert "short_rows.py:ShortRows" in capsys.readouterr().out


def test_the_stage_takes_every_form_of_rows(written: Path, tmp_path: Path) -> None:
    (tmp_path / "short_rows.py").write_bytes((written / "short_rows.py").read_bytes())
    trust.remember([tmp_path])
    # A line separator within a text ends no row.
    said = [{"q": "Say something.", "a": "Two\u2028words."}, {"q": "Say more.", "a": "Three words, \x85these."}]
    Path("said.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in said))
    turns = [{"role": "user", "content": "Say as much as you can."}, {"role": "assistant", "content": "Short."}]
    Path("talks").mkdir()
    Path("talks/data.jsonl").write_text(json.dumps({"messages": turns}))
    Path("short.yaml").write_text(
        "stages:\n"
        "  one: {kind: short_rows.py:ShortRows, data: 'said.jsonl?prompt=q&completion=a', most_words: 2}\n"
        "  two: {kind: short_rows.py:ShortRows, data: ./talks, most_words: 1}\n"
        "  again: {kind: short_rows.py:ShortRows, data: one, most_words: 2}\n"
    )
    assert cli.main(["run", "short.yaml"]) == 0
    assert cli.main(["verify", "short"]) == 0
    kept = {name: durable.rows(artifact.path / "data.jsonl")
            for name, artifact in RunFolder(Path("runs/short")).artifacts().items()}
    assert kept["one"] == kept["again"] == [{"prompt": "Say something.", "completion": "Two\u2028words."}]
    assert kept["two"] == [{"messages": turns}]


def test_an_editor_finds_the_schema(written: Path) -> None:
    text = (written / "first-try.yaml").read_text()
    [path] = re.findall(r"^# yaml-language-server: \$schema=file://(\S+)$", text, re.MULTILINE)
    assert Path(path).is_file()


@pytest.mark.parametrize(("what", "told"), [
    ("rule", "reward: {rules: {mine.py:mine: {weight: 0.1, most: 200}}}"),
    ("stage", "short: {kind: mine.py:Mine, data: traces, most_words: 200}"),
    ("problems", "problems: [mine.py:mine:train]"),
    ("verifier", 'problems: ["mine.jsonl?verifier=mine.py:mine"]'),
    ("recipe", "retort run mine.yaml"),
])
def test_it_tells_what_to_do_next(
    what: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", what, "mine"]) == 0
    out = capsys.readouterr().out
    assert told in out
    assert "pytest test_mine.py" in out
    assert "retort list " in out
    assert len(list(tmp_path.iterdir())) == 2


def test_a_recipe_uses_the_rule_and_notices_an_edit(write_recipe: Callable[..., Path]) -> None:
    path = write_recipe(RECIPE)
    assert cli.main(["new", "rule", "my_rule", "--folder", str(path.parent)]) == 0
    step = recipe.read(str(path)).steps["student"]
    problem = Problem("", "", "5", "math", "")
    assert step.config.reward.score(problem, Completion("5"), Verdict(Label.CORRECT)).total == 1.5
    rule = path.parent / "my_rule.py"
    rule.write_text(rule.read_text() + "# edited\n")
    (before,) = step.plug_ins
    (after,) = recipe.read(str(path)).steps["student"].plug_ins
    assert before.reference == after.reference == "my_rule.py:my_rule"
    assert before.source_hash != after.source_hash


def test_a_rule_of_that_name_elsewhere_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a checkout, whose own folder is on the search path of what is installed from it."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        assert cli.main(["new", "rule", "other_rule", "--folder", str(tmp_path / folder)]) == 0
        monkeypatch.syspath_prepend(str(tmp_path / folder))


@pytest.mark.parametrize(("name", "expected"), [
    ("my-rule", "retort new: a rule's name is a Python name such as my_rule, not 'my-rule'"),
    ("../x", "retort new: a rule's name is a Python name such as my_rule, not '../x'"),
    ("lambda", "retort new: a rule's name is a Python name such as my_rule, not 'lambda'"),
    ("", "retort new: a rule's name is a Python name such as my_rule, not ''"),
    ("format", "retort new: there is a rule called 'format' already"),
    ("json", "retort new: a file json.py would hide the Python module 'json'"),
    ("numpy", "retort new: a file numpy.py would hide the Python module 'numpy'"),
    ("rewards", "retort new: a file rewards.py would hide the Python module 'rewards'"),
    ("completion", "retort new: the file would use the name 'completion' for two things"),
])
def test_a_name_that_will_not_do_is_one_line(
    name: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    is_refused("rule", name, expected, tmp_path, capsys)


@pytest.mark.parametrize(("what", "name", "expected"), [
    ("recipe", "quickstart", "retort new: there is a recipe called 'quickstart' already; retort list recipes"),
    ("recipe", "a.b", "retort new: a recipe's name is a word such as my_recipe, not 'a.b'"),
    ("stage", "grpo", "retort new: there is a stage called 'grpo' already; retort list stages shows them"),
    ("stage", "context", "retort new: the file would use the name 'Context' for two things"),
    ("stage", "__", "retort new: a stage's name is a Python name such as my_stage, not '__'"),
    ("problems", "gsm8k", "retort new: there is a problem set called 'gsm8k' already; retort list problems shows"),
    ("problems", "my problems", "retort new: a problem set's name is a Python name such as my_problems, not"),
    ("verifier", "math", "retort new: there is a verifier called 'math' already; retort list verifiers shows them"),
    ("rules", "mine", "retort new: there is no template of 'rules'; did you mean 'rule'?"),
])
def test_so_it_is_for_the_other_kinds(
    what: str, name: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    is_refused(what, name, expected, tmp_path, capsys)


def is_refused(what: str, name: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["new", what, name, "--folder", str(tmp_path)]) == 2
    found = capsys.readouterr().err
    assert found.startswith(expected)
    assert found.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["my_rule.py", "test_my_rule.py"])
def test_nothing_is_overwritten(taken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / taken).write_text("mine")
    assert cli.main(["new", "rule", "my_rule", "--folder", str(tmp_path)]) == 2
    assert f"{taken} exists" in capsys.readouterr().err
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]
