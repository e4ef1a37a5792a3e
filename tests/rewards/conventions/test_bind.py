"""A function under the wrong prefix, or under none, is told where it belongs."""

import functools
from pathlib import Path

import pytest
from pydantic import ValidationError

from rewards.rubric import Rubric
from tests.rewards.conventions.groups import problem, rewards, rubric_of, totals, written

SOURCE = """
def trl(prompts, completions, answer, **kwargs): return [1.0 for _ in completions]
def trl_bare(completions): return [1.0 for _ in completions]
def trl_ids(completion_ids, **kwargs): return [1.0 for _ in completion_ids]
def verl(data_source, solution_str, ground_truth, extra_info=None): return 1.0
def verl_many(data_sources, solution_strs, ground_truths, extra_infos): return [1.0 for _ in solution_strs]
def verifiers(completion, answer): return 1.0
def verifiers_many(completions, answers, states): return [1.0 for _ in completions]
def verifiers_state(state): return 1.0
def retort(problem, completion): return 1.0
def anything(**kwargs): return [1.0 for _ in kwargs["completions"]]
def by_place(completions, /): return [1.0]
def factory(most): return trl
"""


@pytest.fixture
def rubric(tmp_path: Path) -> functools.partial[Rubric]:
    return functools.partial(rubric_of, tmp_path)


@pytest.mark.parametrize("name", [
    "trl", "trl_bare", "trl_ids", "verl", "verl_many", "verifiers", "verifiers_many", "verifiers_state",
])
@pytest.mark.parametrize("prefix", ["trl:", "verl:", "verifiers:", ""])
def test_every_function_belongs_somewhere(rubric: functools.partial[Rubric], name: str, prefix: str) -> None:
    right = name.partition("_")[0] + ":"
    shared = {("trl_bare", "verifiers:")}  # it takes completions and nothing else, which is either's
    if prefix == right or (name, prefix) in shared:
        assert totals(rubric(SOURCE, f"{prefix}mine.py:{name}"), problem(), written("5", "4")) == [1.0, 1.0]
        return
    with pytest.raises(ValidationError) as caught:
        rubric(SOURCE, f"{prefix}mine.py:{name}")
    said = caught.value.errors()[0]["msg"]
    assert f"write {right}mine.py:{name}" in said, said
    assert "\n" not in said


@pytest.mark.parametrize(("reference", "said"), [
    ("trl:mine.py:retort", "it looks like a rule of Retort's own: write mine.py:retort"),
    ("trl:mine.py:by_place", r"takes \(completions\) and is not trl's"),
    ("trl:mine.py:factory", "needs the option 'most'"),
    ("trll:mine.py:trl", "no prefix 'trll'; did you mean 'trl'"),
    ("vrl:some_package.rewards:trl", "no prefix 'vrl'; did you mean 'verl'"),
    ("trl:trl", "write trl:module:name or trl:path/to/file.py:name"),
    ("trl:mine.py:gone", "no 'gone' in"), ("trl:gone.py:trl", "there is no file"),
    ("trl:no_such_package:trl", "there is no module 'no_such_package'"), ("trl:", "write trl:module:name"),
    ("trl:mine.py:trl(least)", "its arguments are written as"), ("trl:mine.py:trl(least=f())", "its arguments are"),
    ("trl:mine.py:trl(**least)", "its arguments are"), ("trl:mine.py:trl(x=1)(y=2)", "its arguments are"),
    ("trl:mine.py:trl(x=1) or 1", "write module:name"), ("trl:trl:mine.py:trl", "there is no"),
])
def test_what_leads_nowhere(rubric: functools.partial[Rubric], reference: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        rubric(SOURCE, reference)
    assert "\n" not in caught.value.errors()[0]["msg"]


def test_what_takes_anything_is_of_every_convention(rubric: functools.partial[Rubric]) -> None:
    assert totals(rubric(SOURCE, "trl:mine.py:anything"), problem(), written("5", "4")) == [1.0, 1.0]


def test_functions_of_equal_names_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("def correct(completions): return [1.0]\n")
    (tmp_path / "two.py").write_text("def f(completions, least=1): return [least]\n")
    (tmp_path / "three.py").write_text("def f(completions): return [3.0]\n")
    rules = {"trl:one.py:correct": 1, "trl:two.py:f": 1, "trl:three.py:f": 1, "trl:two.py:f(least=2)": 1}
    made = Rubric.model_validate({"correct": 0, "rules": rules}, context={"base": tmp_path})
    [completion] = written("5")
    [found] = rewards(made, problem(), [completion])
    assert found.parts == {
        "correct": 0.0, "trl:one.py:correct": 1.0, "trl:two.py:f": 1.0, "trl:three.py:f": 3.0,
        "trl:two.py:f(least=2)": 2.0,
    }


def test_the_hash_is_of_the_functions_file_and_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("LEAST = 1\n")
    (tmp_path / "mine.py").write_text("from words import LEAST\ndef f(completions): return [LEAST]\n")

    def digest() -> str:
        [entry] = Rubric.model_validate({"rules": {"trl:mine.py:f": 1}}, context={"base": tmp_path}).plug_ins()
        return entry.source_hash()

    before = digest()
    (tmp_path / "words.py").write_text("LEAST = 2\n")
    assert digest() != before
