"""Functions written for verl's reward managers, unchanged."""

import functools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rewards.conventions import verl
from rewards.conventions.scoring import Ask
from rewards.conventions.signature import Signature
from rewards.rubric import Rubric, RubricError
from tests.rewards.conventions.groups import problem, rewards, rubric_of, totals, written


@pytest.fixture
def rubric(tmp_path: Path) -> functools.partial[Rubric]:
    return functools.partial(rubric_of, tmp_path)


def compute(body: str, parameters: str = "data_source, solution_str, ground_truth, extra_info=None") -> str:
    return f"import numpy\ndef compute_score({parameters}): return {body}"


ROW = {"data_source": "openai/gsm8k", "ability": "math", "extra_info": {"index": 3, "split": "train"}}


def test_what_it_is_given(rubric: functools.partial[Rubric]) -> None:
    source = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    assert (data_source, extra_info) == ("openai/gsm8k", {"index": 3, "split": "train"}), extra_info
    extra_info["index"] = None
    return float(solution_str == ground_truth)
"""
    made = rubric(source, "verl:mine.py:compute_score")
    for _ in range(2):
        assert totals(made, problem(meta=ROW), written("5", "4")) == [1.0, 0.0]
    assert not made.whole


def test_problems_that_are_not_verls(rubric: functools.partial[Rubric]) -> None:
    body = "[(data_source, ground_truth, extra_info) == ('words', '5', {})]"
    made = rubric(compute(body), "verl:mine.py:compute_score")
    assert totals(made, problem(), written("5")) == [1.0]


@pytest.mark.parametrize(("body", "total", "parts"), [
    ("0.5", 0.5, {}), ("True", 1.0, {}), ("numpy.float32(0.25)", 0.25, {}),
    ("(0.5, 'why')", 0.5, {}), ("[1]", 1.0, {}),
    ("{'score': -1.0, 'acc': False, 'pred': '4'}", -1.0, {"compute_score/acc": 0.0}),
    ("{'score': True, 'n': numpy.int64(3), 'why': None, 'nan': float('nan')}", 1.0, {"compute_score/n": 3.0}),
    ("{'score': 1, 'xs': [1], 'array': numpy.ones(3)}", 1.0, {}),
])
def test_what_it_may_return(
    rubric: functools.partial[Rubric], body: str, total: float, parts: dict[str, float]
) -> None:
    [found] = rewards(rubric(compute(body), "verl:mine.py:compute_score"), problem(), written("5"))
    assert found.total == total
    assert found.parts == {"correct": 0.0, "compute_score": total, **parts}


@pytest.mark.parametrize(("body", "said"), [
    ("None", "returned None; a reward is a number"), ("'1.0'", "returned '1.0'"), ("()", "returned an empty tuple"),
    ("{}", "a dict without 'score'; it has nothing"), ("{'reward': 1}", "it has 'reward'"),
    ("{'score': None}", "under 'score' returned None"), ("{'score': float('nan')}", "under 'score' returned nan"),
    ("1 / 0", "failed: ZeroDivisionError"), ("float('-inf')", "returned -inf"), ("('a', 1)", "returned 'a'"),
])
def test_what_is_no_reward_is_an_error_in_one_line(rubric: functools.partial[Rubric], body: str, said: str) -> None:
    with pytest.raises(RubricError, match=said) as caught:
        totals(rubric(compute(body), "verl:mine.py:compute_score"), problem(), written("5"))
    assert "'verl:mine.py:compute_score', for problem 'p1'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reward_kwargs(rubric: functools.partial[Rubric]) -> None:
    source = compute("most", "solution_str, ground_truth, most=1, **kwargs")
    assert totals(rubric(source, "verl:mine.py:compute_score"), problem(), written("5")) == [1.0]
    assert totals(rubric(source, "verl:mine.py:compute_score", most=3, other=1), problem(), written("5")) == [3.0]
    strict = compute("1", "solution_str, ground_truth, method")
    with pytest.raises(ValidationError, match="needs the option 'method'"):
        rubric(strict, "verl:mine.py:compute_score")
    with pytest.raises(ValidationError, match="did you mean 'method'"):
        rubric(strict, "verl:mine.py:compute_score", methd=1)


def test_a_served_reward_model_is_refused(rubric: functools.partial[Rubric]) -> None:
    with pytest.raises(ValidationError, match="a reward model that verl serves"):
        rubric(compute("1", "data_source, solution_str, ground_truth, extra_info, reward_router_address"),
               "verl:mine.py:compute_score")


def test_async_and_batches(rubric: functools.partial[Rubric]) -> None:
    source = """
import asyncio
waiting = 0
async def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    global waiting
    waiting += 1
    await asyncio.sleep(0.01)
    return {"score": float(waiting), "acc": 1}
def many(data_sources, solution_strs, ground_truths, extra_infos):
    assert ground_truths == ["5", "5"]
    return [{"score": len(text)} for text in solution_strs]
def short(data_sources, solution_strs, ground_truths, extra_infos): return [1]
"""
    made = rubric(source, "verl:mine.py:compute_score")
    assert made.whole  # all completions of a problem wait together
    assert totals(made, problem(), written("5", "55")) == [2.0, 2.0]
    assert totals(rubric(source, "verl:mine.py:many"), problem(), written("5", "55")) == [1.0, 2.0]
    with pytest.raises(RubricError, match="no list with a score for each of 2 completions"):
        totals(rubric(source, "verl:mine.py:short"), problem(), written("5", "55"))


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.floats(-1e6, 1e6), st.booleans(), st.integers(-9, 9)),
       st.dictionaries(st.text(max_size=5).filter(lambda key: key != "score"),
                       st.one_of(st.none(), st.text(), st.floats(), st.integers(), st.lists(st.integers()))))
def test_every_score_comes_back_whatever_stands_beside_it(score: float, beside: dict[str, object]) -> None:
    def function(solution_str: str, ground_truth: str) -> dict[str, object]:
        assert solution_str == ground_truth == "5"
        return {"score": score, **beside}

    scoring = verl.bound(function, Signature.of(function, "rule"), {}, "rule")
    [found] = scoring.score(Ask(problem(), written("5")))
    assert found.value == score
    assert set(found.parts) <= set(beside)
