"""Thinking within a budget."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from eval.answer_reader import AnswerReader, cut
from eval.budget import sample_within
from eval.engine import engine_for
from eval.engine.types import Engine, Request, Sampling
from eval.problems import load
from eval.prompts import encode_prompts
from eval.protocol import Prompting
from eval.rollouts import Draws, complete
from pipeline.models.build import prepare
from pipeline.models.tokenizer import train_tokenizer
from rewards.types import Completion, Problem
from tests.conftest import TINY

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


@given(st.integers(1, 23))
def test_there_are_never_more_tokens_of_thinking_than_the_budget_has(budget: int) -> None:
    engine, tokenizer, problems = _random()
    prompts = encode_prompts(tokenizer, problems, Prompting(open_thinking=True))
    requests = [Request(prompt, [place, 99]) for place, prompt in enumerate(prompts)]
    close = tokenizer.convert_tokens_to_ids("</think>")
    reader = AnswerReader(tokenizer)
    found = sample_within(engine, reader, requests, Sampling(24), budget)
    assert any(one.forced for group in found for one in group)
    for one in (one for group in found for one in group):
        assert close in one.ids[: budget + 1] or len(one.ids) <= budget, "closed in time, or ended"
        assert reader.thinking_tokens(one.ids, opened=True) <= budget, "and not begun again behind that"
        assert len(one.ids) == len(one.logprobs) <= 24 + sum(map(len, one.forced))
        if one.forced:
            assert one.forced == (range(budget, budget + 1),), "neither sooner nor later"
            assert (one.ids[budget], one.logprobs[budget]) == (close, 0.0)


@functools.cache
def _random() -> tuple[Engine, Any, list[Problem]]:
    problems = load("word_problems:test", 4)
    tokenizer = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in problems], 64)
    torch.manual_seed(0)
    fields = {**TINY["qwen3"], "vocab_size": len(tokenizer), "initializer_range": 0.05}
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    return engine_for(prepare(AutoModelForCausalLM.from_config(config)).eval(), tokenizer), tokenizer, problems


def test_a_budget_of_everything_changes_nothing(ask: Ask) -> None:
    assert ask(24) == ask(None)


def test_an_answer_is_cut_at_the_first_stop_text() -> None:
    assert cut("4\n\nQuestion: next", ["Question:", "\n\n"]) == ("4", True)
    assert cut("4", ["Question:"]) == ("4", False)
