"""Rejection sampling keeps what is right and reads well, and says why the rest went."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.contract.errors import StageError
from pipeline.data.rows import read_rows
from pipeline.stages.sample import Sample

Ask = Callable[[Sequence[str]], Path]


def test_right_answers_are_kept_once(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    folder = ask_for(["3", "4", "3", "5"])
    fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 4, "rollouts": 3, "temperature": 0.0}
    ctx = context(zero=answerer)
    metrics = Sample.model_validate(fields, context={"base": folder}).run(ctx)
    kept = read_rows(ctx.out)
    assert {row["problem"] for row in kept} == {"p0", "p2"}
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
