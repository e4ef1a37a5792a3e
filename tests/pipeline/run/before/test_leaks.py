"""A recipe whose training data holds a test problem does not run, and says which."""

import json
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from huggingface_hub import constants

from eval.contamination import TestTexts, Text, text_of
from eval.problems import is_at_hand, load
from eval.problems.data_folder import VARIABLE
from pipeline.commands import cli
from pipeline.contract.errors import RecipeError
from pipeline.contract.stage import stage_seed
from pipeline.data.corpus import Corpus
from pipeline.disk import durable
from pipeline.recipe import recipe
from pipeline.recipe.inputs import InputError
from pipeline.run.before.leaks import check

Write = Callable[..., Path]
STAGES = """
name: leaky
{leaks}
stages:
  base: {{kind: 'tiny.py:Make'}}
  zero: {{kind: grpo, model: base, problems: [{train}], problems_each: 24, steps: 1}}
  score: {{kind: evaluate, models: [zero], problems: [{test}], problems_each: 6}}
"""
NAMES = ["Ann", "Bob", "Cleo", "Dan", "Eve", "Finn"]


def questions(count: int, start: int = 0) -> list[dict[str, str]]:
    return [
        {"prompt": f"{NAMES[i % 6]} the {'baker' if i % 2 else 'tailor'} from house {i * 7 + 3} sold {i + 11} cakes "
                   f"in April, {i * i + 5} in May, "
                   f"and gave {i + 2} of those {'away to poor children' if i % 3 else 'back to the shop'} before "
                   f"June. How many are left over?",
         "answer": str(i)} for i in range(start, start + count)
    ]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_planted_leak_stops_the_run_with_the_pair_shown(
    write_recipe: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_recipe(STAGES.format(leaks="", train="train.jsonl", test="test.jsonl"))
    tests, trains = questions(6, start=100), questions(24)
    trains[7] = {**tests[3], "prompt": tests[3]["prompt"].replace("cakes", "CAKES,")}
    write(tmp_path / "train.jsonl", trains)
    write(tmp_path / "test.jsonl", tests)
    assert cli.main(["run", str(path)]) == 2
    err = capsys.readouterr().err
    assert "recipe.yaml: the training data holds test problems: 1 of them" in err
    assert "test.jsonl test-4 is in train.jsonl train-8 (" in err
    assert "Traceback" not in err
    rows = durable.rows(tmp_path / "runs" / "leaky" / "ledger.jsonl")
    assert [row["event"] for row in rows] == ["began", "failed"], "before any stage"
    write(tmp_path / "train.jsonl", questions(24))
    told = check(recipe.read(str(path)))
    assert told is not None
    assert told.startswith(
        "6 test problems were looked for in 24 training texts: none is there; 6 share 13 words in a row"
    )


def test_told_where_the_recipe_says_so(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe(STAGES.format(leaks="leaks: tell", train="train.jsonl", test="test.jsonl"))
    tests = questions(6, start=100)
    write(tmp_path / "train.jsonl", [*questions(22), *tests[:2]])
    write(tmp_path / "test.jsonl", tests)
    assert "2 of them are there, such as test.jsonl test-" in (check(recipe.read(str(path))) or "")


def test_dataset_files_are_read(write_recipe: Write, tmp_path: Path) -> None:
    text = "name: s\nstages:\n  base: {kind: 'tiny.py:Make'}\n  tuned: {kind: sft, model: base, data: traces.jsonl}\n" \
           "  score: {kind: evaluate, models: [tuned], problems: ['word_problems:test'], problems_each: 20}\n"
    path = write_recipe(text)
    leaked = load("word_problems:test", 20)[11]
    rows = [
        {"prompt": problem.prompt, "completion": "<answer>1</answer>"} for problem in load("word_problems:train", 50)
    ]
    write(tmp_path / "traces.jsonl", rows)
    assert "none is there" in (check(recipe.read(str(path))) or "")
    write(
        tmp_path / "traces.jsonl",
        [*rows, {"prompt": "Read this.", "completion": f"They ask: {leaked.prompt} I say 4."}]
    )
    with pytest.raises(
        recipe.RecipeError, match=rf"word_problems:test {leaked.id} is in traces.jsonl row 51 \(8-gram, 100%\)"
    ):
        check(recipe.read(str(path)))


def test_each_dataset_of_a_mix_is_read(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe("name: s\nstages:\n  base: {kind: 'tiny.py:Make'}\n  tuned: {kind: sft, model: base, data: "
                        "{one: one.jsonl, other: other.jsonl}, mix: [{until: 1.0, weights: {one: 1, other: 2}}]}\n"
                        "  score: {kind: evaluate, models: [tuned], problems: ['word_problems:test'], problems_each: "
                        "20}\n")
    leaked = load("word_problems:test", 20)[3]
    rows = [{"prompt": problem.prompt, "completion": "1"} for problem in load("word_problems:train", 20)]
    write(tmp_path / "one.jsonl", rows)
    write(tmp_path / "other.jsonl", rows)
    assert "in 40 training texts: none is there" in (check(recipe.read(str(path))) or "")
    write(tmp_path / "other.jsonl", [*rows, {"prompt": leaked.prompt, "completion": "1"}])
    with pytest.raises(recipe.RecipeError, match=rf"word_problems:test {leaked.id} is in other.jsonl row 21"):
        check(recipe.read(str(path)))


def test_datasets_of_the_hub_are_read(write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "c0ffee" * 6 + "cafe"
    cached = tmp_path / "hub" / "datasets--org--traces"
    (cached / "snapshots" / commit).mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    path = write_recipe("name: s\nstages:\n  base: {kind: 'tiny.py:Make'}\n  tuned: {kind: sft, model: base, data: "
                        "org/traces}\n"
                        "  score: {kind: evaluate, models: [tuned], problems: ['word_problems:test'], problems_each: "
                        "20}\n")
    rows = [
        {"prompt": problem.prompt, "completion": "<answer>1</answer>"} for problem in load("word_problems:train", 50)
    ]
    write(cached / "snapshots" / commit / "data.jsonl", rows)
    assert "in 50 training texts: none is there" in (check(recipe.read(str(path))) or "")
    leaked = load("word_problems:test", 20)[4]
    write(cached / "snapshots" / commit / "data.jsonl", [*rows, {"text": leaked.prompt}])
    with pytest.raises(recipe.RecipeError, match=rf"word_problems:test {leaked.id} is in org/traces row 51"):
        check(recipe.read(str(path)))


DRAWS = """
from random import Random
from rewards.types import Problem

def sums(split, n, seed):
    seed = 1 if split == "test" else seed % 2
    asked = "The {} bakers of the old town sold {} loaves on Monday and {} more on every other day but {}. How many?"
    return [Problem(f"{split}-{i}", asked.format(a, a * 7 + seed, a + 5, i), "1", "math", "sums")
            for i, a in enumerate(Random(seed).sample(range(90), n))]
"""


@pytest.mark.parametrize("order", [0, 1])
def test_another_draw_under_the_same_ids_hides_nothing(write_recipe: Write, tmp_path: Path, order: int) -> None:
    seeds = {stage_seed(0, name) % 2: name for name in map("rl{}".format, range(9))}
    (tmp_path / "mine.py").write_text(DRAWS)
    stages = "".join(f"  {seeds[(order + place) % 2]}: {{kind: sample, model: base, problems: ['mine.py:sums:train'], "
                     "problems_each: 4}\n" for place in range(2))
    measured = "  score: {kind: evaluate, models: [base], problems: ['mine.py:sums:test'], problems_each: 4}\n"
    file = write_recipe(f"name: two\nseed: 0\nstages:\n  base: {{kind: 'tiny.py:Make'}}\n{stages}{measured}")
    with pytest.raises(RecipeError, match="holds test problems: 4 of them"):
        check(recipe.read(file))


def test_a_train_split_that_is_measured_on_is_meant(write_recipe: Write) -> None:
    sets = "'word_problems:train', 'word_problems:test'"
    path = write_recipe(STAGES.format(leaks="", train="'word_problems:train'", test=sets))
    assert check(recipe.read(str(path))) == "6 test problems were looked for in 24 training texts: none is there"


def test_who_measures_on_the_training_file_is_told_how_to_say_so(write_recipe: Write, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", questions(24))
    path = write_recipe(STAGES.format(leaks="", train="train.jsonl", test="train.jsonl"))
    with pytest.raises(RecipeError, match="by the split, `:train` behind the set"):
        check(recipe.read(str(path)))
    meant = write_recipe(STAGES.format(leaks="", train="train.jsonl", test="'train.jsonl:train'"))
    check(recipe.read(str(meant)))


@pytest.mark.parametrize("name", sorted(recipe.shipped()))
def test_shipped_recipes_are_clean(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.environ.get(VARIABLE) or Path(__file__).parents[5] / "shared" / "data")
    if folder.is_dir():
        monkeypatch.setenv(VARIABLE, str(folder))
    read = recipe.read(name, resolve_hub=lambda _: "0" * 40)
    for reference in {use.reference for step in read.steps.values() for use in step.config.asks(0)}:
        if not is_at_hand(reference):
            pytest.skip(f"{folder} does not hold {reference}; set {VARIABLE} to the folder that has it")
    try:
        found = check(read)
    except InputError as error:  # a dataset of the hub, and no test asks the network
        pytest.skip(str(error))
    assert found is None or found.endswith("none is there")


def test_the_synthetic_web_holds_no_test_problem() -> None:
    """What `pretrain` reads is not part of the check: it is made of training skeletons alone."""
    families = ("word_problems", "programs", "needle", "little_countdown")
    tests = TestTexts(text_of(problem, family) for family in families for problem in load(f"{family}:test", 300))
    web = Corpus(facts=0.0, words=0.4, needles=0.2, countdown=0.1, filled=0.3, length=120)
    documents = list(islice(web.documents(Random(3)), 4000))
    texts = [Text(f"document {i}", f"{one.prompt or ''}\n{one.text}") for i, one in enumerate(documents)]
    assert [leak for text in texts for leak in tests.leaks(text)] == []


def test_conversations_are_searched_and_bad_rows_are_as_the_stage_says(write_recipe: Write, tmp_path: Path) -> None:
    stages = """
name: leaky
stages:
  base: {{kind: 'tiny.py:Make'}}
  tuned: {{kind: sft, model: base, data: 'talks.jsonl?messages=talk', bad_rows: {bad_rows}}}
  score: {{kind: evaluate, models: [tuned], problems: [test.jsonl], problems_each: 6}}
"""
    tests = questions(6, start=100)
    write(tmp_path / "test.jsonl", tests)
    talks = [{"talk": [{"role": "user", "content": f"Count to {n}."}, {"role": "assistant", "content": "5"}]}
             for n in range(9)]
    broken = tmp_path / "talks.jsonl"
    broken.write_text("".join(json.dumps(row) + "\n" for row in talks) + '{"talk": []}\n')
    path = write_recipe(stages.format(bad_rows="drop"))
    assert check(recipe.read(str(path))) == "6 test problems were looked for in 9 training texts: none is there"
    with pytest.raises(RecipeError, match=r"talks.jsonl:10: 'talk' is an empty list"):
        recipe.read(str(write_recipe(stages.format(bad_rows="stop"))))
    talks[3] = {"talk": [{"role": "user", "content": tests[2]["prompt"]}, {"role": "assistant", "content": "5"}]}
    broken.write_text("".join(json.dumps(row) + "\n" for row in talks))
    with pytest.raises(RecipeError, match=r"test.jsonl test-3 is in talks.jsonl\?messages=talk row 4"):
        check(recipe.read(str(path)))
