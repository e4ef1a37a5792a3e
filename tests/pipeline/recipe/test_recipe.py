import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.contract.errors import RecipeError
from pipeline.recipe import fingerprint, recipe, trust
from pipeline.recipe.header import is_name
from pipeline.recipe.inputs import InputError, Source

Write = Callable[..., Path]

GOOD = """\
name: good
seed: 3
parallel: 2
stages:
  base: {kind: "tiny.py:Make", steps: 5, rate: 1e-4}
  other: {kind: "tiny.py:Make"}
  traces:
    kind: tiny.py:Write
    model: base
    others: [base, other]
  student:
    kind: tiny.py:Learn
    data: traces
    reward: {correct: 1.0, rules: {format: 0.2}}
"""


def complaint(write: Write, text: str, sets: tuple[str, ...] = ()) -> str:
    path = write(text)
    with pytest.raises(RecipeError) as caught:
        recipe.read(str(path), sets)
    return "\n".join(line.removeprefix(f"{path}:") for line in caught.value.lines)


def test_a_recipe_is_read_and_wired(write_recipe: Write) -> None:
    read = recipe.read(str(write_recipe(GOOD)))
    assert (read.name, read.seed, read.parallel) == ("good", 3, 2)
    assert list(read.steps) == ["base", "other", "traces", "student"]
    assert read.steps["traces"].needs == ["base", "other"]
    assert read.steps["base"].config.rate == 1e-4
    assert [use.reference for use in read.steps["student"].plug_ins] == ["format"]


@pytest.mark.parametrize(("old", "new", "expected"), [
    ("steps: 5", "stepz: 5", "5: base.stepz: there is no such field; did you mean 'steps'?"),
    ("steps: 5", "steps: many", "5: base.steps: should be a valid integer"),
    ("    data: traces\n", "", "11: student.data: this field is required and is not given"),
    ("data: traces", "data: base", "13: student.data: 'base' makes a model and a dataset belongs here; "
                                   "did you mean 'traces'?"),
    ("    model: base\n", "    model: student\n", "9: traces.model: stage 'student' is not an earlier one"),
    ("    model: base\n", "    model: bsae\n", "9: traces.model: 'bsae' is no earlier stage, no path and no hub id "
                                              "(org/name); did you mean 'base'?"),
    ("others: [base, other]", "others: [base, ohter]", "10: traces.others.1: 'ohter' is no earlier stage"),
    ("    model: base\n", "    model: ./nowhere\n", "9: traces.model: there is no file or folder './nowhere'"),
    ("    model: base\n", "    model: tine.py\n", "did you mean 'tiny.py'?"),
    ("format: 0.2", "fromat: 0.2", "14: student.reward.rules.fromat: there is no rule called 'fromat'; did you mean "
                                   "'format'?"),
    ("format: 0.2", "format: lots", "14: student.reward.rules.format: should be a valid number"),
    ("correct: 1.0", "corect: 1.0", "14: student.reward.corect: there is no such field; did you mean 'correct'?"),
    ("tiny.py:Learn", "tiny.py:Lern", "12: student.kind: stage 'tiny.py:Lern': no 'Lern' in"),
    ("tiny.py:Learn", "pretrian", "12: student.kind: there is no stage called 'pretrian'; did you mean 'pretrain'?"),
    ("tiny.py:Learn", "tiny.py:not_a_stage", "12: student.kind: 'tiny.py:not_a_stage' is not a Stage"),
    ("tiny.py:Learn", "tiny.py:Unfinished", "12: student.kind: 'tiny.py:Unfinished' has no `run` method"),
    ("    kind: tiny.py:Learn\n", "", "11: student: has no kind"),
    ("seed: 3", "sead: 3", "2: sead: there is no such field; did you mean 'seed'?"),
    ("seed: 3", "seed: -3", "2: seed: should be greater than or equal to 0, not -3"),
    ("seed: 3", "accelerate: none.yaml", "2: accelerate: there is no file"),
    ("data: traces", "data: [traces]", "13: student.data: should be a valid string"),
    ("    data: traces", "    data: traces\n    phases: [{length: 3, stebs: 2}]",
     "14: student.phases.0.stebs: there is no such field; did you mean 'steps'?"),
    ("    data: traces", "    data: traces\n    problems: gsm8q:test",
     "14: student.problems: there is no problem set called 'gsm8q'; did you mean 'gsm8k'?"),
    ("    data: traces", "    data: traces\n    data: traces", "14: key 'data' is written twice"),
    ("steps: 5", "steps: null", "not null"), ("steps: 5", "steps: true", "not true"),
])
def test_each_mistake_is_one_line_with_its_place(write_recipe: Write, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = complaint(write_recipe, GOOD.replace(old, new))
    assert expected in found
    assert found.count("\n") == 0


def test_all_mistakes_are_told_at_once(write_recipe: Write) -> None:
    found = complaint(write_recipe, GOOD.replace("steps: 5", "stepz: 5").replace("data: traces", "dada: traces"))
    assert len(found.splitlines()) == 3  # stepz, dada, and data which is missing


@pytest.mark.parametrize(("text", "expected"), [
    ("", "1: a recipe is a block of keys"), ("- a\n", "1: a recipe is a block of keys"),
    ("name: x\n", "1: stages: this field"), ("stages: {}\n", "1: stages: "),
    ("stages: {a/b: {kind: x}}\n", "1: a/b: 'a/b' cannot name a stage"), ("stages: [a]\n", "1: stages: "),
    ("stages:\n  base: pretrain\n", "2: base: "),
    ("name: a b\nstages: {a: {kind: x}}\n", "1: name: 'a b' cannot name a run"),
])
def test_a_file_of_another_shape_is_refused(write_recipe: Write, text: str, expected: str) -> None:
    assert expected in complaint(write_recipe, text)


def test_sets_are_typed_and_named_in_errors(write_recipe: Write) -> None:
    path = str(write_recipe(GOOD))
    read = recipe.read(path, ["seed=1", "base.rate=2e-3", "student.reward.rules.format=0.5", "traces.others.1=base"])
    assert (read.seed, read.steps["base"].config.rate) == (1, 2e-3)
    assert read.steps["traces"].config.others == ["base", "base"]
    assert read.steps["student"].config.reward.rules == {"format": 0.5}
    assert read.run_name == "good-seed=1-base.rate=2e-3-student.reward.rules.format=0.5-traces.others.1=base"
    assert recipe.read(path).run_name == "good"
    assert recipe.read(path, ["parallel=1", "name=better"]).run_name == "better"


def name(path: Path, *overrides: str) -> str:
    return recipe.read(str(path), overrides).run_name


def test_runs_of_different_overrides_have_different_names(write_recipe: Write) -> None:
    path = write_recipe(GOOD.replace("other:", "leaks:").replace("[base, other]", "[base, leaks]"))
    names = {name(path, f"base.end={end}") for end in ("Is it 3?", "Is it 3!", "a/b", "a_b", "\N{SNOWMAN}", "L\xf6se")}
    assert len(names) == 6
    assert all(map(is_name, names))
    assert "good-base.end=a_b" in names
    # Of a stage and of a setting that are called alike.
    assert (name(path, "leaks.steps=4"), name(path, "leaks=tell")) == ("good-leaks.steps=4", "good")


def test_runs_of_files_of_one_name_in_two_folders_have_different_names(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe(GOOD)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.jsonl").write_text('{"text": "one"}\n')
    for typed in ("student.data=rows.jsonl", "student.data=./rows.jsonl"):
        names = {recipe.read(str(path), [typed], start=tmp_path / folder).run_name for folder in ("a", "b")}
        assert len(names) == 2
        assert all(map(is_name, names))


@pytest.mark.parametrize("text", [
    f"You are careful. {'Think before you answer. ' * 20}", "a/" * 3000, "a/**bold**", "./*.py/x",
])
def test_a_text_in_a_set_is_no_path(write_recipe: Write, text: str) -> None:
    assert recipe.read(str(write_recipe(GOOD)), [f"base.end={json.dumps(text)}"]).steps["base"].config.end == text


def test_patterns_in_a_set_start_from_the_current_folder(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_recipe(GOOD))
    (tmp_path / "here" / "rows").mkdir(parents=True)
    (tmp_path / "here" / "rows" / "a.jsonl").write_text('{"text": "one"}\n')
    monkeypatch.chdir(tmp_path / "here")
    read = recipe.read(path, ["student.data=rows/*.jsonl"])
    assert [source.path for source in read.steps["student"].sources.values()] == [tmp_path / "here/rows/*.jsonl"]


def test_a_recipe_is_read_again_from_anywhere(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_recipe(GOOD))
    for place in ("here/given", "there/given"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.json").write_text(place)
    monkeypatch.chdir(tmp_path / "here")
    read = recipe.read(path, ["traces.model=./given"])
    written = json.loads(json.dumps(recipe.as_dict(read)))
    for cwd in (tmp_path / "there", tmp_path):
        monkeypatch.chdir(cwd)
        again = recipe.read_again(written)
        assert again == read
        assert again.steps["traces"].config.model == str(tmp_path / "here/given")


def test_paths_in_a_set_start_from_the_current_folder(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_recipe(GOOD))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "mine.py").write_text("def rule(problem, completion):\n    return 1.0\n")
    trust.remember([here])
    read = recipe.read(path, ["student.reward={rules: {mine.py:rule: 0.1}}"])
    assert read.steps["student"].config.reward.rules == {f"{here.resolve()}/mine.py:rule": 0.1}


@pytest.mark.parametrize(("override", "expected"), [
    ("base.stepz=3", "--set base.stepz=3: base.stepz: there is no such field; did you mean 'steps'?"),
    ("bsae.steps=3", "--set bsae.steps=3: there is no stage 'bsae'; did you mean 'base'?"),
    ("sead=3", "--set sead=3: there is no stage 'sead'; did you mean 'seed'?"),
    ("base.steps", "--set base.steps: write --set stage.field=value"),
    ("base=3", "--set base=3: write which field of stage 'base'"),
    ("base.steps=[1", "--set base.steps=[1: the value is not YAML"),
    ("base.steps=many", "--set base.steps=many: base.steps: should be a valid integer"),
    ("student.data=other", "--set student.data=other: student.data: 'other' makes a model and a dataset belongs here"),
    ("base.steps.more=1", "--set base.steps.more=1: 'steps' holds 5"),
    ("traces.others.7=base", "--set traces.others.7=base: '7' is not a position in a list of 2"),
])
def test_a_wrong_set_is_named(write_recipe: Write, override: str, expected: str) -> None:
    found = complaint(write_recipe, GOOD, (override,))
    assert found.startswith(expected)
    assert "\n" not in found


def test_paths_of_a_recipe_start_from_its_folder(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text("{}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = write_recipe(GOOD.replace("    model: base", "    model: own"))
    monkeypatch.chdir(elsewhere)
    source = recipe.read(str(path)).steps["traces"].sources["own"]
    assert source.path == tmp_path / "own"
    found = complaint(write_recipe, GOOD.replace("data: traces", "data: own"))
    assert "13: student.data: 'own' is a model and a dataset belongs here" in found


def test_hub_ids_are_resolved_last_and_once(write_recipe: Write) -> None:
    asked: list[str] = []

    def resolve(source: Source) -> str:
        asked.append(f"{source.repository} {source.type}")
        return "c0ffee"

    path = str(write_recipe(GOOD.replace("    model: base", "    model: org/name@v1")))
    read = recipe.read(path, resolve_hub=resolve)
    assert read.steps["traces"].sources["org/name@v1"].commit == "c0ffee"
    assert asked == ["org/name model"]
    with pytest.raises(RecipeError):
        recipe.read(path, ["base.stepz=1"], resolve_hub=resolve)
    assert asked == ["org/name model"]


def test_a_hub_that_cannot_be_reached_is_one_line(write_recipe: Write) -> None:
    def resolve(source: Source) -> str:
        raise InputError(f"model {source.reference!r} cannot be had")

    path = write_recipe(GOOD.replace("    model: base", "    model: org/name"))
    with pytest.raises(RecipeError) as caught:
        recipe.read(str(path), resolve_hub=resolve)
    assert caught.value.lines == [f"{path}:9: traces.model: model 'org/name' cannot be had"]


def test_a_recipe_is_found_by_path_or_shipped_name(write_recipe: Write) -> None:
    write_recipe(GOOD, "mine.yaml")
    assert recipe.locate("mine.yaml") == Path("mine.yaml")
    with pytest.raises(RecipeError, match=r"myne.yaml: there is no such file; did you mean 'mine.yaml'\?"):
        recipe.locate("myne.yaml")
    with pytest.raises(RecipeError, match="there is no recipe of that name"):
        recipe.locate("quickstrat")


def test_the_context_recipe_finds_the_quickstarts_base() -> None:
    quickstart, context = (
        fingerprint.of_recipe(recipe.read(name))["base"].digest for name in ("quickstart", "context")
    )
    assert quickstart == context
