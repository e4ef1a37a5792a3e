"""Functions written for trl's GRPOTrainer, unchanged: what they are given, and what becomes of what they give."""

import functools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rewards.conventions import trl
from rewards.conventions.scoring import Ask
from rewards.conventions.signature import Signature
from rewards.registry import RegistryError
from rewards.rubric import Rubric, RubricError
from rewards.types import Completion, Label, Problem, Verdict
from tests.rewards.conventions.groups import problem, rewards, rubric_of, totals, written


@pytest.fixture
def rubric(tmp_path: Path) -> functools.partial[Rubric]:
    return functools.partial(rubric_of, tmp_path)


# As they are found: Brown's demo of GRPO, open-r1's, trl's documentation.
CHAT = '''
import re

def extract(text): return text.split("<answer>")[-1].split("</answer>")[0].strip()

def correctness(prompts, completions, answer, **kwargs) -> list[float]:
    responses = [completion[0]["content"] for completion in completions]
    assert prompts[0][-1]["role"] == "user", prompts
    return [2.0 if extract(r) == a else 0.0 for r, a in zip(responses, answer)]

def tags(completions, **kwargs):
    return [float(bool(re.match(r"<answer>", completion[0]["content"]))) for completion in completions]
'''
GOOD, BAD = "<answer>5</answer>", "it is 4"


def test_messages_where_a_recipe_says_so(rubric: functools.partial[Rubric]) -> None:
    made = rubric(CHAT, "trl:mine.py:correctness", conversational=True)
    assert totals(made, problem(), written(GOOD, BAD)) == [2.0, 0.0]


def test_messages_where_the_row_had_messages(rubric: functools.partial[Rubric]) -> None:
    asked = problem(meta={"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}]})
    assert totals(rubric(CHAT, "trl:mine.py:correctness"), asked, written(GOOD)) == [2.0]
    text = "def f(completions, **kwargs): return [len(one) for one in completions]"
    assert totals(rubric(text, "trl:mine.py:f", conversational=False), asked, written(GOOD)) == [18.0]


@pytest.mark.parametrize(("annotation", "kind"), [
    ("list[str]", "str"), ("List[str]", "str"), ("'list[str]'", "str"), ("list[list[dict[str, str]]]", "list"),
    ("List[List[Dict[str, str]]]", "list"), ("'list[list[dict]]'", "list"), ("list", "str"), ("object", "str"),
])
def test_messages_where_the_function_declares_them(
    rubric: functools.partial[Rubric], annotation: str, kind: str
) -> None:
    source = f"""
from typing import Dict, List
def f(completions: {annotation}, **kwargs):
    return [float(type(one).__name__ == {kind!r}) for one in completions]
"""
    assert totals(rubric(source, "trl:mine.py:f"), problem(), written("a")) == [1.0]


def test_the_wrong_form_is_told_with_what_to_say(rubric: functools.partial[Rubric]) -> None:
    with pytest.raises(RubricError, match=r"'trl:mine.py:tags', for problem 'p1'.*conversational: true gives"):
        totals(rubric(CHAT, "trl:mine.py:tags"), problem(), written(GOOD))
    text = "def f(completions, **kwargs): return [len(one.strip()) for one in completions]"
    with pytest.raises(RubricError, match="conversational: false gives it texts"):
        totals(rubric(text, "trl:mine.py:f", conversational=True), problem(), written("a"))
    for body in ("trainer_state.epoch", "completions()", "f()"):
        other = f"def f(completions, trainer_state): return {body}"
        with pytest.raises(RubricError, match="Error: ") as caught:
            totals(rubric(other, "trl:mine.py:f"), problem(), written("a"))
        assert ("conversational" in str(caught.value)) == (body == "completions()")


def test_columns_and_what_the_trainer_gives(rubric: functools.partial[Rubric]) -> None:
    source = """
def f(prompts, completions, completion_ids, solution, level, trainer_state, log_extra, log_metric, **kwargs):
    assert prompts == ["How many are left?"] * 2, prompts
    assert completion_ids == [[0, 1], [0, 1, 2]], completion_ids
    assert solution == kwargs["answer"] == kwargs["ground_truth"] == ["5", "5"]
    assert level == [{"of": 3}, {"of": 3}] and level[0] is not level[1]
    level[0]["of"] = 4
    assert kwargs["topic"] == ["sums", "sums"] and "prompt" not in kwargs and "completion" not in kwargs
    log_extra("seen", [1, 2])
    log_metric("depth", 0.5)
    return [trainer_state.global_step, 0]
"""
    asked = problem(meta={"level": {"of": 3}, "topic": "sums", "completion": "x"})
    made = rubric(source, "trl:mine.py:f")
    for _ in range(2):  # nothing that a function does to its columns is left behind
        found = rewards(made, asked, written("ab", "abc"), step=7)
        assert [reward.total for reward in found] == [7.0, 0.0]
    assert found[0].parts == {"correct": 0.0, "f": 7.0, "f/depth": 0.5}


def test_a_column_of_the_row_comes_before_the_answers_other_names(rubric: functools.partial[Rubric]) -> None:
    source = "def f(completions, solution, answer): return [float(solution == ['own'] and answer == ['5'])]"
    assert totals(rubric(source, "trl:mine.py:f"), problem(meta={"solution": "own"}), written("a")) == [1.0]


def test_none_does_not_apply(rubric: functools.partial[Rubric]) -> None:
    source = "def f(completions, **_): return [None if 'x' in one else 1 for one in completions]"
    made = rubric(source, "trl:mine.py:f")
    found = rewards(made, problem(), written("ax", "b"))
    assert [reward.total for reward in found] == [None, 1.0]  # no function has a reward for the first
    assert found[0].parts == {"correct": 0.0}
    both = Rubric.model_validate({"correct": 0, "rules": {"trl:mine.py:f": 2.0, "format": 0.5}},
                                 context={"base": _folder(made)})
    assert totals(both, problem(), written("ax", "b")) == [0.0, 2.0]
    with_verdict = Rubric.model_validate({"rules": {"trl:mine.py:f": 2.0}}, context={"base": _folder(made)})
    assert totals(with_verdict, problem(), written("ax", "b")) == [0.0, 2.0]


def _folder(rubric: Rubric) -> Path:
    [entry] = rubric.plug_ins()
    assert entry.file is not None
    return entry.file.parent


def test_a_verdict_that_nobody_can_give_leaves_functions_alone_to_say(rubric: functools.partial[Rubric]) -> None:
    source = "def f(completions, **_): return [1.0 for one in completions]"
    made = rubric(source, "trl:mine.py:f")
    ungradable = Verdict(Label.UNGRADABLE)
    assert made.score(problem(), written("a")[0], ungradable).total == 1.0
    counted = Rubric.model_validate({"correct": 1, "rules": {"trl:mine.py:f": 1}}, context={"base": _folder(made)})
    assert counted.score(problem(), written("a")[0], ungradable).total is None


def test_it_sees_the_whole_group(rubric: functools.partial[Rubric]) -> None:
    source = "def rank(completions, **_): return [sorted(map(len, completions)).index(len(c)) for c in completions]"
    made = rubric(source, "trl:mine.py:rank")
    assert totals(made, problem(), written("aaa", "a", "aa", "aa")) == [3.0, 0.0, 1.0, 1.0]
    assert made.whole


def test_async_functions(rubric: functools.partial[Rubric]) -> None:
    source = """
import asyncio
lock = None
async def f(completions, **_):
    global lock
    lock = lock or asyncio.Lock()  # belongs to the loop of the first call
    async with lock:
        await asyncio.sleep(0)
    return [None, 2]
class Judge:
    async def __call__(self, completions, **_):
        return [1.0 for _ in completions]
judge = Judge()
"""
    made = rubric(source, "trl:mine.py:f")
    assert totals(made, problem(), written("a", "b")) == [None, 2.0]
    assert totals(made, problem(), written("a", "b")) == [None, 2.0]
    assert totals(rubric(source, "trl:mine.py:judge"), problem(), written("a")) == [1.0]


@pytest.mark.parametrize("body", [
    "numpy.array([True, False])", "numpy.array([1.0, 0.0], dtype='float16')", "torch.tensor([1, 0])",
    "[torch.tensor(1.0), torch.tensor(0)]", "[numpy.float32(1), numpy.int64(0)]", "[True, False]", "(1, 0)",
    "[fractions.Fraction(1), decimal.Decimal(0)]", "iter([1, 0])",
])
def test_numbers_of_every_make(rubric: functools.partial[Rubric], body: str) -> None:
    source = f"import decimal, fractions, numpy, torch\ndef f(completions, **_): return {body}"
    assert totals(rubric(source, "trl:mine.py:f"), problem(), written("a", "b")) == [1.0, 0.0]


@pytest.mark.parametrize(("body", "said"), [
    ("[1.0]", "returned 1 rewards for 2 completions"), ("[]", "returned 0 rewards"),
    ("1.0", "returned an object of float and no list"), ("(1.0 for _ in iter(int, 1))", "returned more rewards for 2"),
    ("None", "returned an object of NoneType and no list"), ("'ab'", "returned an object of str and no list"),
    ("{'a': 1, 'b': 2}", "returned an object of dict and no list"),
    ("['1', '0']", "returned '1'; a reward is a number"),
    ("[float('nan'), 0]", "returned nan; a reward is a finite"), ("[0, float('inf')]", "returned inf"),
    ("[1e300, 0]", "a number up to 1e"), ("[10**400, 0]", "a reward is a number"), ("[[1], [0]]", "returned"),
    ("numpy.ones((2, 2))", "a reward is a number"), ("numpy.float64(1)", "no list with a reward"),
    ("1 / 0", "failed: ZeroDivisionError: division by zero"), ("kwargs['gone']", "failed: KeyError"),
    ("[1 + 1j, 0]", "a reward is a number"), ("log_metric('m', 'much') or [1, 0]", "logged 'm'"),
])
def test_what_is_no_reward_is_an_error_in_one_line(rubric: functools.partial[Rubric], body: str, said: str) -> None:
    made = rubric(f"import numpy\ndef f(completions, log_metric, **kwargs): return {body}", "trl:mine.py:f")
    with pytest.raises(RubricError, match=said) as caught:
        totals(made, problem(), written("a", "b"))
    assert "'trl:mine.py:f', for problem 'p1'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_is_known_before(rubric: functools.partial[Rubric]) -> None:
    made = rubric("def f(completions, difficulty, tolerance=0.1): return [1.0]", "trl:mine.py:f")
    made.require([problem(meta={"difficulty": 3})])
    with pytest.raises(RubricError, match=r"needs the column 'difficulty', which problem 'p1' does not have.*meta=\*"):
        made.require([problem(meta={"difficulty": 3}), problem()])
    rubric("def f(completions, answer, solution, ground_truth): return [1.0]", "trl:mine.py:f").require([problem()])


def test_names_in_the_singular_are_told(rubric: functools.partial[Rubric]) -> None:
    with pytest.raises(ValidationError, match="takes 'prompt', and trl gives prompts"):
        rubric("def f(completions, prompt): return [1.0]", "trl:mine.py:f")


def test_options_of_the_function(rubric: functools.partial[Rubric]) -> None:
    source = "def f(completions, answer, least=1, **kwargs): return [least for _ in completions]"
    assert totals(rubric(source, "trl:mine.py:f", least=3), problem(), written("a")) == [3.0]
    assert totals(rubric(source, "trl:mine.py:f(least=4)"), problem(), written("a")) == [4.0]
    for wrong, said in (({"lest": 3}, "did you mean 'least'"), ({"conversational": "yes"}, "true or false")):
        with pytest.raises(ValidationError, match=said):
            rubric(source, "trl:mine.py:f", **wrong)


def test_a_function_that_makes_one(rubric: functools.partial[Rubric]) -> None:
    source = """
def get_length_reward(most, least=0):
    def reward(completions, **kwargs):
        return [float(least <= len(completion[0]["content"]) <= most) for completion in completions]
    return reward
class Length:
    def __init__(self, most=2): self.most = most
    def __call__(self, completions, **kwargs): return [float(len(one) <= self.most) for one in completions]
"""
    made = rubric(source, "trl:mine.py:get_length_reward", most=2, conversational=True)
    assert totals(made, problem(), written("a", "abc")) == [1.0, 0.0]
    assert totals(rubric(source, "trl:mine.py:Length"), problem(), written("a", "abc")) == [1.0, 0.0]
    with pytest.raises(ValidationError, match="needs the option 'most'"):
        rubric(source, "trl:mine.py:get_length_reward")
    with pytest.raises(ValidationError, match="failed: TypeError"):
        rubric("def get(most): return most + 1", "trl:mine.py:get", most="x")
    with pytest.raises(ValidationError, match="is an object of int and no function"):
        rubric("def get(most): return most", "trl:mine.py:get", most=1)


@pytest.mark.parametrize(("reference", "options", "expected"), [
    ("trl:trl.rewards:think_format_reward", {}, [1.0, 0.0]),
    ("trl:trl.rewards:accuracy_reward", {}, [1.0, 0.0]),
    ("trl:trl.rewards:reasoning_accuracy_reward", {"reasoning_delimiters": ["</think>"]}, [1.0, 0.0]),
    ("trl:trl.rewards:get_soft_overlong_punishment", {"max_completion_len": 32, "soft_punish_cache": 8}, [0, -1.0]),
    ("trl:trl.rewards:get_repetition_penalty_reward", {"ngram_size": 2}, [0.0, -0.975]),
    ("trl:trl.rewards:get_cosine_scaled_reward", {"max_len": 40}, [0.845671, -0.5]),
])
def test_trls_own_functions(reference: str, options: dict[str, object], expected: list[float]) -> None:
    made = Rubric.model_validate({"correct": 0, "rules": {reference: options}})
    asked = Problem("p1", "?", "5", "math", "words")
    good = Completion("<think>so</think> \\boxed{5}", ids=tuple(range(15)))
    bad = Completion("\\boxed{4}", ids=(1,) * 41)
    assert totals(made, asked, [good, bad]) == pytest.approx(expected, abs=1e-6)
    [entry] = made.plug_ins()
    assert len(entry.source_hash()) == 64


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.booleans(), st.integers(-9, 9)), min_size=1, max_size=8))
def test_every_list_of_rewards_comes_back_as_it_was_given(given_: list[float | None]) -> None:
    def function(completions: list[str]) -> list[float | None]:
        return given_[: len(completions)]

    scoring = trl.bound(function, Signature.of(function, "rule"), {}, "rule")
    found = scoring.score(Ask(problem(), written(*map(str, given_))))
    assert [one.value for one in found] == given_


def test_only_what_is_taken_is_given() -> None:
    def function(completions: list[str], /) -> list[float]:
        return [1.0 for _ in completions]

    signature = Signature.of(function, "rule")
    assert (signature.named, signature.by_position) == ({}, ("completions",))
    with pytest.raises(RegistryError, match="does not say what it takes"):
        Signature.of(min, "rule")
