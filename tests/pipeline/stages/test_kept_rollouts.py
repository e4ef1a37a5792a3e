"""What of a round is kept: every rollout's text, verdict, reward and tokens, as the training had them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.rl.rollouts import keeping
from pipeline.stages.grpo import Grpo

Ask = Callable[[Sequence[str]], Path]
FIELDS: dict[str, Any] = {
    "model": "base", "problems": ["mine.jsonl"], "problems_each": 8, "steps": 3, "prompts_per_step": 2, "group_size": 4,
    "gate": 0, "max_completion_tokens": 16, "temperature": 1.6,
}


def kept_of(ctx: Any, ask_for: Ask, **changed: Any) -> dict[int, list[dict[str, Any]]]:
    stage = Grpo.model_validate({**FIELDS, **changed}, context={"base": ask_for(["3", "4"] * 4)})
    stage.run(ctx)
    kept: dict[int, list[dict[str, Any]]] = ctx.kept
    return kept


def test_rollouts_are_kept_as_they_were_trained_on(
    answerer: Path, ask_for: Ask, context: Callable[..., Any]
) -> None:
    ctx = context(base=answerer)
    kept = kept_of(ctx, ask_for)
    assert list(kept) == [1, 2, 3]
    logged = {row["step"]: row for row in ctx.rows}
    for step, rows in kept.items():
        assert [row["rollout"] for row in rows] == [0, 1, 2, 3] * 2
        assert len({row["problem"] for row in rows}) == 2
        assert sum(row["reward"] for row in rows) / 8 == pytest.approx(logged[step]["reward"], abs=1e-4)
        assert sum(row["verdict"] == "correct" for row in rows) / 8 == logged[step].get("verdict/correct", 0.0)
        assert sum(len(row["pieces"]) for row in rows) / 8 == pytest.approx(logged[step]["length"])
        for row in rows:
            assert len(row["pieces"]) == len(row["logprobs"])
            assert all(value <= 0 for value in row["logprobs"])
            assert row["text"].strip() in "".join(row["pieces"])
            assert row["expected"] in ("3", "4")
            assert row["experts"] is None  # a dense model
        for group in (rows[:4], rows[4:]):
            assert sum(row["advantage"] for row in group) == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize(("every", "steps"), [(2, [1, 3]), (0, [])])
def test_of_every_so_many_steps(
    answerer: Path, ask_for: Ask, context: Callable[..., Any], every: int, steps: list[int]
) -> None:
    assert list(kept_of(context(base=answerer), ask_for, keep_rollouts=every)) == steps


def test_a_round_of_many_tokens_is_kept_by_whole_groups(
    answerer: Path, ask_for: Ask, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_TOKENS", 5)
    kept = kept_of(context(base=answerer), ask_for)
    assert {step: len(rows) for step, rows in kept.items()} == {1: 4, 2: 4, 3: 4}
