"""Thinking within a budget."""

from collections.abc import Callable
from typing import Any

import pytest

from eval.answer_reader import cut
from eval.engine import engine_for
from eval.engine.types import Sampling
from eval.problems import load
from eval.protocol import Prompting
from eval.rollouts import Draws, complete
from pipeline.models.tokenizer import train_tokenizer
from rewards.types import Completion

Ask = Callable[..., list[Completion]]


@pytest.fixture
def ask(tiny: Callable[..., Any]) -> Ask:
    """ask(budget) -> completions of a random model whose thinking is forced open."""
    problems = load("word_problems:test", 8)
    tokenizer = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in problems], 64)
    engine = engine_for(tiny("qwen3", vocab_size=len(tokenizer), initializer_range=0.05), tokenizer)

    def run(budget: int | None, longest: int = 24, opened: bool = True) -> list[Completion]:
        prompting = Prompting(open_thinking=opened, thinking_budget=budget)
        groups = complete(engine, tokenizer, problems, Draws(2, Sampling(longest), (0, "t"), prompting))
        return [one for group in groups for one in group]

    return run


def test_thinking_ends_at_the_budget_and_the_answer_goes_on(ask: Ask) -> None:
    free, short = ask(None), ask(6)
    assert any("</think>" not in one.text for one in free), "a random model thinks on"
    assert all("</think>" in one.text or one.finished for one in short)
    for before, after in zip(free, short, strict=True):
        if before.finished and before.tokens <= 6:
            assert after == before, "what ended in time is as without a budget"
        assert after.tokens <= 24 + 1, "the forced tag is the one token more"
    assert [one.text for one in ask(6)] == [one.text for one in short]


def test_a_budget_of_everything_changes_nothing(ask: Ask) -> None:
    assert ask(24) == ask(None)


def test_an_answer_is_cut_at_the_first_stop_text() -> None:
    assert cut("4\n\nQuestion: next", ["Question:", "\n\n"]) == ("4", True)
    assert cut("4", ["Question:"]) == ("4", False)
