"""What ranks rollouts of a problem: the model's own confidence, or a rule, and never the verdict."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.choosing import LEAST, chooser
from eval.engine import engine_for
from eval.engine.types import Sampled, Sampling
from eval.problems import load
from eval.prompts import encode_prompts
from eval.protocol import Prompting
from eval.rollouts import Draws, Rollout, collect
from pipeline.models.tokenizer import train_tokenizer
from rewards.types import Completion, Label, Problem, Verdict

RULES = """
def length(problem, completion):
    return len(completion.text)

def broken(problem, completion):
    raise KeyError("nothing")

def above(completions, **_):
    middle = sum(map(len, completions)) / len(completions)
    return [len(one) - middle for one in completions]
"""


def rollouts(*texts: str, problem: str = "p") -> list[Rollout]:
    asked = Problem(problem, "How many?", "3", "math", "sums")
    return [
        Rollout(asked, place, Completion(text, tokens=len(text)), Verdict(Label.WRONG))
        for place, text in enumerate(texts)
    ]


def test_confidence_is_the_mean_over_tokens_that_were_drawn() -> None:
    written = (range(1, 3), range(4, 5))  # by a tool, in two turns
    assert Sampled([5, 6, 7, 8, 9], [-1.0, 0.0, 0.0, -3.0, 0.0], True, forced=written).confidence == -2.0
    assert Sampled([5, 6], [-1.0, -0.5], True).confidence == -0.75
    assert Sampled([], [], False).confidence is None


@torch.no_grad()
def test_confidence_is_the_models(tiny: Callable[..., Any]) -> None:
    problems = load("word_problems:test", 3)
    tokenizer = train_tokenizer([problem.prompt for problem in problems], 64)
    model = tiny("qwen3", vocab_size=len(tokenizer), initializer_range=0.1, max_position_embeddings=128)
    draws, prompting = Draws(2, Sampling(12, 0.7), (0, "test")), Prompting()
    seen: list[tuple[int, list[int]]] = []
    engine = engine_for(model, tokenizer)
    sample = engine.sample

    def kept(requests: Any, *args: Any, **kwargs: Any) -> Any:
        groups = sample(requests, *args, **kwargs)
        seen.extend((place, one.ids) for place, group in enumerate(groups) for one in group)
        return groups

    engine.sample = kept  # type: ignore[method-assign]
    found = collect(engine, tokenizer, problems, draws)
    prompts = encode_prompts(tokenizer, problems, prompting)
    expected = []
    for place, ids in seen:
        logits = model(torch.tensor([[*prompts[place], *ids]])).logits[0, len(prompts[place]) - 1 : -1] / 0.7
        expected.append(float(logits.log_softmax(-1).gather(-1, torch.tensor(ids)[:, None]).mean()))
    assert chooser("confidence")(found) == pytest.approx(expected, abs=1e-4)
    assert len(set(expected)) == 6


def test_a_rollout_without_a_token_is_trusted_least() -> None:
    assert chooser("confidence")(rollouts("")) == [LEAST]


@pytest.mark.parametrize(("name", "expected"), [
    ("rules.py:length", [2, 4, 1]),
    ("trl:rules.py:above", [-1, 1, 0]),  # of the first problem two, whose mean is 3, of the second one
    ("format", [0, 0, 0]),
])
def test_rules_give_values(tmp_path: Path, name: str, expected: list[float]) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    asked = [*rollouts("aa", "aaaa"), *rollouts("a", problem="q")]
    assert chooser(name, tmp_path)(asked) == expected


@pytest.mark.parametrize(("name", "said"), [
    ("formt", "best_by: there is no rule called 'formt'; did you mean 'format'?"),
    ("overlong", "best_by: rule 'overlong'"),
    ("rules.py:missing", "best_by: "),
])
def test_what_is_no_such_rule_is_one_line(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    with pytest.raises(ValueError, match="best_by") as raised:
        chooser(name, tmp_path)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)
