"""Rejection sampling keeps what is right and reads well, and says why the rest went."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from eval.prompts import encode_prompt
from pipeline.contract.errors import StageError
from pipeline.data.rows import read_rows
from pipeline.data.tokenized import tokenized
from pipeline.models import pretrained, special_tokens
from pipeline.models.build import build
from pipeline.stages.distill import Distill
from pipeline.stages.sample import Sample
from tests.pipeline.stages.conftest import PROMPTS

Ask = Callable[[Sequence[str]], Path]


def test_right_answers_are_kept_once(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    folder = ask_for(["3", "4", "3", "5"])
    fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 4, "rollouts": 3, "temperature": 0.0}
    ctx = context(zero=answerer)
    metrics = Sample.model_validate(fields, context={"base": folder}).run(ctx)
    kept = read_rows(ctx.out)
    assert {row["problem"] for row in kept} == {"p0", "p2"}
    assert len({row["asked"] for row in kept}) == 2
    assert {row["completion"] for row in kept} == {"<think>So 3.</think><answer>3</answer>"}
    assert (metrics["rollouts"], metrics["kept"], metrics["problems"]) == (12, 2, 2)
    assert (metrics["dropped/wrong"], metrics["dropped/duplicate"]) == (6, 4)
    assert metrics["tokens"] == 12 * 9
    assert ctx.notes == ["kept 2 of 12 rollouts; dropped: {'duplicate': 4, 'wrong': 6}"]


def test_the_same_seed_keeps_the_same(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    folder = ask_for(["3"] * 8)
    stage = Sample.model_validate({"model": "zero", "problems": ["mine.jsonl"], "problems_each": 8, "temperature": 0.9},
                                  context={"base": folder})
    runs = [context(seed, zero=answerer) for seed in (1, 1, 2)]
    for ctx in runs:
        stage.run(ctx)
    first, second, other = ((ctx.out / "data.jsonl").read_text() for ctx in runs)
    assert first == second != other
    counts = [json.loads(line)["problem"] for line in first.splitlines()]
    assert max(map(counts.count, counts)) <= stage.keep_each


def test_rows_hold_what_was_asked(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    """So that a student of them is trained on the question that it will be asked."""
    folder = ask_for(["3", "3"])
    for instruction, expected in (("Say it.", "\n\nSay it."), ("auto", "")):
        ctx = context(zero=answerer)
        fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 2, "temperature": 0.0, "format": False,
                  "readable": False, "prompt": {"instruction": instruction}}
        Sample.model_validate(fields, context={"base": folder}).run(ctx)
        asked = [json.loads(line)["prompt"] for line in (folder / "mine.jsonl").read_text().splitlines()]
        rows = {row["prompt"] for row in read_rows(ctx.out)}
        # The little model may be thrown off by words that it never saw.
        assert rows <= {f"{prompt}{expected}" for prompt in asked}
        assert rows or instruction == "Say it."


def test_a_stop_text_ends_a_rollout(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    ctx = context(zero=answerer)
    fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 2, "temperature": 0.0, "format": False,
              "prompt": {"stop": ["</answer>"]}}
    metrics = Sample.model_validate(fields, context={"base": ask_for(["3", "3"])}).run(ctx)
    assert metrics["dropped/no_answer"] == metrics["rollouts"]  # cut before the tag, which then does not close


def test_rows_say_how_often_the_model_was_right_and_the_shortest_can_be_kept(
    answerer: Path, ask_for: Ask, context: Callable[..., Any]
) -> None:
    folder = ask_for(["3"] * 6)
    fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 6, "rollouts": 8, "temperature": 1.6,
              "format": False, "readable": False}
    kept = {}
    for prefer, each in (("first", 8), ("shortest", 1)):
        ctx = context(zero=answerer)
        Sample.model_validate({**fields, "prefer": prefer, "keep_each": each}, context={"base": folder}).run(ctx)
        kept[prefer] = read_rows(ctx.out)
    assert any(0 < row["pass_rate"] < 1 for row in kept["first"])
    tokenizer = pretrained.load_tokenizer(answerer)
    length = {row["completion"]: len(tokenizer(row["completion"])["input_ids"]) for row in kept["first"]}
    for row in kept["shortest"]:
        of_it = [other for other in kept["first"] if other["problem"] == row["problem"]]
        assert length[row["completion"]] == min(length[other["completion"]] for other in of_it)
        assert {other["pass_rate"] for other in of_it} == {row["pass_rate"]}
    assert any(len({length[row["completion"]] for row in kept["first"] if row["problem"] == f"p{at}"}) > 1
               for at in range(6))


def test_thinking_that_a_budget_closes_leaves_short_traces(
    answerer: Path, ask_for: Ask, context: Callable[..., Any]
) -> None:
    fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 2, "temperature": 0.0, "format": False}
    stage = Sample.model_validate({**fields, "thinking_budget": 2}, context={"base": ask_for(["3", "3"])})
    ctx = context(zero=answerer)
    stage.run(ctx)
    thinking = {row["completion"].partition("</think>")[0].strip() for row in read_rows(ctx.out)}
    assert thinking == {"<think>So"}


def test_a_thinking_budget_leaves_room_for_the_answer() -> None:
    with pytest.raises(ValidationError, match="thinking_budget 64 leaves nothing of max_completion_tokens 64"):
        Sample.model_validate({"model": "zero", "problems": ["mine.jsonl"], "thinking_budget": 64})


def test_what_was_found_with_high_effort_is_learned_as_an_answer_with_low_effort(
    answerer: Path, ask_for: Ask, context: Callable[..., Any]
) -> None:
    """So that a model learns of itself to think less."""
    ctx = context(zero=answerer)
    fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 3, "rollouts": 1, "only_correct": False,
              "format": False, "readable": False, "repetition": None, "prompt": {"effort": "high"}}
    Sample.model_validate(fields, context={"base": ask_for(["3", "3", "3"])}).run(ctx)
    kept = read_rows(ctx.out)
    assert {row["prompt"] for row in kept} <= set(PROMPTS[:3])  # without the line that asked for the effort
    stage = Distill.model_validate({"student": "zero", "traces": "found", "prompt": {"effort": "low"}})
    tokenizer = pretrained.load_tokenizer(answerer)
    learned = tokenized(ctx.cache, tokenizer, stage.wanted(context(found=ctx.out), "found"), ctx.note)
    for number, row in enumerate(kept):
        text = tokenizer.decode(learned.row(number, 0.0, 96)["input_ids"])
        assert text.startswith(f"<bos><user>{row['prompt']}")
        assert f"10<assistant>{row['completion']}" in text


def test_drafts_change_nothing_that_is_drawn(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    folder, found = ask_for(["3"] * 4), {}
    fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 4, "temperature": 0.9, "keep_each": 8}
    for speculate in ("off", "lookup"):
        ctx = context(zero=answerer)
        Sample.model_validate({**fields, "speculate": speculate}, context={"base": folder}).run(ctx)
        found[speculate] = (ctx.out / "data.jsonl").read_text()
        assert ("speculation: " in " ".join(ctx.notes)) is (speculate == "lookup")
    assert found["off"] == found["lookup"]
    with pytest.raises(StageError, match="this model has none"):
        Sample.model_validate({**fields, "speculate": "mtp"}, context={"base": folder}).run(context(zero=answerer))


def test_answers_end_where_learned_positions_do(
    answerer: Path, ask_for: Ask, context: Callable[..., Any], tmp_path: Path
) -> None:
    tokenizer = pretrained.load_tokenizer(answerer)
    longest = max(len(encode_prompt(tokenizer, prompt)) for prompt in PROMPTS[:3]) + 20
    learned = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": longest}
    model = build(learned, len(tokenizer), 0, special_tokens.ids(tokenizer))
    pretrained.save(model, tokenizer, tmp_path / "learned")
    fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 3, "rollouts": 2, "beyond_context": True,
              "max_completion_tokens": 2 * longest}
    stage = Sample.model_validate(fields, context={"base": ask_for(["3"] * 3)})
    metrics = stage.run(context(zero=tmp_path / "learned"))
    assert metrics["rollouts"] == 6
    assert 0 < metrics["tokens"] < 6 * longest


def test_what_was_cut_off_is_no_row(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    folder = ask_for(["3", "4"])
    fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 2, "rollouts": 1, "temperature": 0.0,
              "max_completion_tokens": 4, "only_correct": False, "format": False, "readable": False}
    ctx = context(zero=answerer)
    metrics = Sample.model_validate(fields, context={"base": folder}).run(ctx)
    assert metrics["kept"] == 0
    assert metrics["dropped/unfinished"] == 2
    everything = Sample.model_validate({**fields, "finished": False}, context={"base": folder})
    assert everything.run(context(zero=answerer))["kept"] == 2
