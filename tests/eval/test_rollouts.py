"""Rollouts of a tiny random model: in order, graded, the same whatever else is asked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from eval.engine import engine_for
from eval.engine.types import Sampling
from eval.problems import load
from eval.prompts import encode_prompts
from eval.protocol import Prompting
from eval.rollouts import Draws, Rollout, collect, rollouts_file, write_rows
from pipeline.models.build import prepare
from pipeline.models.tokenizer import train_tokenizer
from rewards.grade import grade
from rewards.types import Label

Ask = Callable[..., list[Rollout]]


@pytest.fixture
def ask(tiny: Callable[..., Any]) -> Ask:
    """collect() with a random model that knows the words of the word problems."""
    problems = load("word_problems:test", 12)
    tokenizer = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in problems], 64)
    model = tiny("qwen3", vocab_size=len(tokenizer), initializer_range=0.05)
    engine = engine_for(model, tokenizer)

    def run(count: int = 6, **changed: Any) -> list[Rollout]:
        draws = Draws(**{"n": 3, "sampling": Sampling(24), "seed_parts": (0, "test"), **changed})
        return collect(engine, tokenizer, problems[:count], draws)

    return run


def texts(rollouts: list[Rollout]) -> list[tuple[str, int, str]]:
    return [(one.problem.id, one.index, one.completion.text) for one in rollouts]


def test_rollouts_come_in_order_and_graded(ask: Ask) -> None:
    rollouts = ask()
    ids = [problem.id for problem in load("word_problems:test", 6)]
    assert [(one.problem.id, one.index) for one in rollouts] == [(name, i) for name in ids for i in range(3)]
    for one in rollouts:
        assert one.verdict.label == grade(one.problem, one.completion).label
        assert 1 <= one.completion.tokens <= 24
        assert "<eos>" not in one.completion.text
    assert len({one.completion.text for one in rollouts}) > len(rollouts) // 2


def test_more_problems_and_more_rollouts_only_add(ask: Ask) -> None:
    few, many = texts(ask(count=4, n=2)), texts(ask(count=6, n=5))
    assert set(few) <= set(many)
    assert texts(ask(seed_parts=(1, "test"))) != texts(ask())


def test_a_prompt_without_room_counts_as_truncated(ask: Ask) -> None:
    free = ask()
    rollouts = ask(context=24)
    without = [one for one in rollouts if one.completion.tokens == 0]
    assert 0 < len(without) < len(rollouts)
    assert {one.verdict.label for one in without} == {Label.TRUNCATED}
    for (_, _, whole), (_, _, text), one in zip(texts(free), texts(rollouts), rollouts, strict=True):
        assert whole.startswith(text)
        assert text == whole or not one.completion.finished
    assert {one.verdict.label for one in ask(context=1)} == {Label.TRUNCATED}


def test_opened_thinking_is_part_of_the_completion(ask: Ask) -> None:
    assert all(one.completion.text.startswith("<think>") for one in ask(prompting=Prompting(open_thinking=True)))


def test_rows_are_read_back_as_they_were(ask: Ask, tmp_path: Path) -> None:
    rows = [one.row() for one in ask()]
    write_rows(tmp_path / "rows.jsonl", rows)
    with (tmp_path / "rows.jsonl").open() as file:
        assert [json.loads(line) for line in file] == rows
    assert set(rows[0]) >= {
        "problem", "family", "index", "text", "finished", "tokens", "verdict", "extracted", "reason"
    }
    assert rows[0]["verdict"] in set(Label)


@pytest.mark.parametrize("budget", [None, 20])
def test_learned_positions_end_where_the_model_does(budget: int | None) -> None:
    problems = load("word_problems:test", 4)
    tokenizer = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in problems], 64)
    longest = max(map(len, encode_prompts(tokenizer, problems, Prompting()))) + 30
    torch.manual_seed(0)
    model = prepare(AutoModelForCausalLM.from_config(AutoConfig.for_model(
        "gpt2", vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=longest,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    ))).eval()
    draws = Draws(2, Sampling(longest), (0, "t"), Prompting(thinking_budget=budget), context=longest)
    rollouts = collect(engine_for(model, tokenizer), tokenizer, problems, draws)
    assert all(1 <= one.completion.tokens < longest for one in rollouts)
    assert not all(one.completion.finished for one in rollouts)


def test_sets_of_files_that_are_called_alike_have_files_of_their_own() -> None:
    names = {rollouts_file("m", name) for name in ("data/test.jsonl", "data_test.jsonl", "data%2Ftest.jsonl")}
    assert len(names) == 3
    assert not any("/" in name for name in names)


def test_a_long_name_is_a_file_of_its_own_too(tmp_path: Path) -> None:
    name = "평가/한국어_수학_문제_모음" * 9
    files = [tmp_path / rollouts_file("m", f"{name}{which}") for which in "ab"]
    for file in files:
        write_rows(file, [{"of": file.name}])
        file.with_name(f".{file.name}-1234567.partial").write_text("")
    assert files[0].read_text() != files[1].read_text()
