"""Thinking within a budget."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from eval.answer_formats import HARMONY
from eval.answer_reader import AnswerReader, cut
from eval.budget import sample_within
from eval.engine import engine_for
from eval.engine.types import Engine, Request, Sampled, Sampling, Written
from eval.problems import load
from eval.prompts import encode_prompts
from eval.protocol import Prompting
from eval.rollouts import Draws, complete
from pipeline.models.build import prepare
from pipeline.models.shrunk import byte_tokenizer
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


class Scripted:
    """Writes what it is told to, one text for each time that it is asked."""

    def __init__(self, tokenizer: Any, *texts: str) -> None:
        self.parts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]

    def sample(
        self, requests: Sequence[Request], sampling: Sampling, progress: object = None, written: Written | None = None
    ) -> list[list[Sampled]]:
        if not requests:
            return []
        ids = self.parts.pop(0)[: sampling.max_tokens]
        one = Sampled(ids, [-0.5] * len(ids), finished=False)
        if written:
            written(0, 0, one)
        return [[one]]


HEAD = "<|start|>assistant<|channel|>"
FINAL = "final<|message|>7<|end|>"


@pytest.mark.parametrize(("harmony", "begun", "rest", "expected"), [
    (False, "So</think>3", "4<think>more</think>5", "So</think>34"),
    (False, "So</think>3<thi", "nk>more</think>4", "So</think>3<thi"),
    (False, "So</think>3</think", ">4", "So</think>3</think"),
    (False, "So</thi", "nk>4", "So</thi</think>nk>4"),
    (False, "So", "34", "So</think>34"),
    (True, f"{HEAD}analysis<|message|>So<|end|>{HEAD}{FINAL}", f"{HEAD}analysis<|message|>So",
     "<think>So</think>7"),
    (True, f"{HEAD}{FINAL}<|start|>assistant<|channel|>", f"8<|end|>{HEAD}analysis<|message|>So", "8"),
    (True, f"{HEAD}{FINAL}{HEAD}analysis", f"8<|end|>{HEAD}analysis<|message|>So", "8"),
])
def test_behind_a_budget_no_thinking_begins_wherever_it_falls(
    harmony: bool, begun: str, rest: str, expected: str
) -> None:
    tokenizer = byte_tokenizer()
    if harmony:
        tokenizer.add_special_tokens({"extra_special_tokens": list(HARMONY.marks)})
    reader = AnswerReader(tokenizer)
    budget = len(tokenizer(begun, add_special_tokens=False)["input_ids"])
    prompt = tokenizer("?" if harmony else "?<think>", add_special_tokens=False)["input_ids"]
    opened = reader.opens(prompt)
    engine = Scripted(tokenizer, begun, rest)
    [[one]] = sample_within(engine, reader, [Request(prompt, [0])], Sampling(budget + 100), budget)
    assert reader.text(one.ids, opened=opened).removeprefix("<think>" if opened else "") == expected
    assert reader.thinking_tokens(one.ids, opened=opened) <= budget
    assert len(one.ids) == len(one.logprobs)


@pytest.mark.parametrize(("begun", "rest", "stop", "expected"), [
    ("So</think>3\nQues", "tion: next", "Question:", "So</think>3\nQuestion:"),
    ("So", "4\nmore", "think>4", "So</think>4"),  # the tag between them is written by force
    ("So", "45", "</think>", "So</think>45"),  # what is so written ends no answer
    ("So</think>3", "4\nQuestion", "Question:", "So</think>34\nQuestion"),
])
def test_a_stop_text_that_lies_across_the_budget_ends_the_answer(
    begun: str, rest: str, stop: str, expected: str
) -> None:
    tokenizer = byte_tokenizer()
    reader = AnswerReader(tokenizer, stop=(stop,))
    ids = tokenizer("?<think>", add_special_tokens=False)["input_ids"]
    sampling = Sampling(len(begun) + 100, stop=(stop,))
    [[one]] = sample_within(Scripted(tokenizer, begun, rest), reader, [Request(ids, [0])], sampling, len(begun))
    assert tokenizer.decode(one.ids) == expected
    assert one.finished == expected.endswith(stop)
    assert len(one.ids) == len(one.logprobs)


def test_a_budget_of_everything_changes_nothing(ask: Ask) -> None:
    assert ask(24) == ask(None)


def test_an_answer_is_cut_at_the_first_stop_text() -> None:
    assert cut("4\n\nQuestion: next", ["Question:", "\n\n"]) == ("4", True)
    assert cut("4", ["Question:"]) == ("4", False)
