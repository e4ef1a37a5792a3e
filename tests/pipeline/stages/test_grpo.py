"""Reinforcement: a gate before it, and the same bytes from the same seed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from eval.errors import PromptError
from pipeline.contract.errors import StageError
from pipeline.models import pretrained
from pipeline.stages.grpo import Grpo

Ask = Callable[[Sequence[str]], Path]
FIELDS: dict[str, Any] = {"model": "base", "problems": ["mine.jsonl"], "problems_each": 8, "steps": 2,
                          "prompts_per_step": 2,
                          "group_size": 4, "gate": 4, "max_completion_tokens": 16, "temperature": 1.6}


def test_a_base_that_never_solves_its_prompts_is_not_reinforced(
    answerer: Path, ask_for: Ask, context: Callable[..., Any]
) -> None:
    stage = Grpo.model_validate(FIELDS, context={"base": ask_for(["77"] * 8)})
    ctx = context(base=answerer)
    with pytest.raises(StageError) as caught:
        stage.run(ctx)
    assert str(caught.value) == (
        "nothing to amplify: base solves 0% of its own prompts in 4 tries (at least 20% needed); "
        "train the base longer, or lower gate_at_least"
    )
    assert ctx.notes == ["at the start: pass@1 0.00, pass@4 0.00 on its own prompts"]
    assert not (ctx.out / "model").exists()


@pytest.mark.parametrize("changed", [
    {}, {"beta": 0.1, "prompt": {"open_thinking": True}, "scale": "batch"},
    {"lora": {"rank": 2}}, {"dynamic_sampling": 2}, {"curriculum": {}, "entropy_bonus": 0.01, "steps": 3},
])
def test_the_same_seed_reinforces_to_the_same_bytes(
    answerer: Path, ask_for: Ask, context: Callable[..., Any], changed: dict[str, Any]
) -> None:
    stage = Grpo.model_validate({**FIELDS, **changed}, context={"base": ask_for(["3", "4"] * 4)})
    runs = [context(seed, base=answerer) for seed in (1, 1, 2)]
    metrics = [stage.run(ctx) for ctx in runs]
    first, second, other = ((ctx.out / "model" / "model.safetensors").read_bytes() for ctx in runs)
    start = (answerer / "model" / "model.safetensors").read_bytes()
    assert first == second
    assert len({start, first, other}) == 3
    model, tokenizer = pretrained.load(runs[0].out)
    assert tokenizer.chat_template
    assert metrics[0]["parameters"] == pretrained.parameters(model)
    assert metrics[0]["tokens"] > 0
    rows = [row for row in runs[0].rows if "reward" in row]
    assert [row["step"] for row in rows] == [1, 2, 3][: stage.steps]
    assert {"reward/correct", "reward/format", "length", "entropy", "groups_without_signal"} <= set(rows[0])
    assert sum(value for name, value in rows[0].items() if name.startswith("verdict/")) == pytest.approx(1.0)
    if "dynamic_sampling" in changed:
        assert all(2 <= row["dynamic/groups_drawn"] <= 6 for row in rows)
    if "curriculum" in changed:
        assert rows[0]["curriculum/expected"] == 0.5
        assert rows[0]["curriculum/new"] == 1
        assert 0.25 <= rows[-1]["curriculum/asked"] <= 0.75
        assert all(row["curriculum/passed"] == pytest.approx(row["verdict/correct"]) for row in rows)


def test_a_module_for_drafts_learns_beside_the_policy(
    answerer: Path, ask_for: Ask, context: Callable[..., Any], whole_and_cut: Callable[..., tuple[bytes, bytes]]
) -> None:
    fields, asked = {**FIELDS, "updates_per_step": 2}, {"base": ask_for(["3", "4"] * 4)}
    first, alone = (context(base=answerer) for _ in range(2))
    metrics = Grpo.model_validate({**fields, "mtp": {}}, context=asked).run(first)
    assert [row["mtp/loss"] > 0 for row in first.rows if "reward" in row] == [True, True]
    assert metrics["mtp/loss"] > 0
    Grpo.model_validate(fields, context=asked).run(alone)
    saved = [(one.out / "model" / "model.safetensors").read_bytes() for one in (first, alone)]
    assert saved[0] == saved[1]
    assert not (alone.out / "mtp.safetensors").exists()
    went_on = context(base=first.out)
    Grpo.model_validate(fields, context=asked).run(went_on)
    assert any("MTP module goes along as it is" in note for note in went_on.notes)
    drafted = Grpo.model_validate({**fields, "mtp": {}, "speculate": "mtp"}, context=asked)  # by a new module, too
    whole, cut_off = whole_and_cut(drafted, every=1, at=3, base=answerer)
    assert whole == cut_off


@pytest.mark.parametrize(("changed", "said"), [
    ({"updates_per_step": 3}, "8 rollouts a step do not split into 3 updates"),
    ({"problems_each": 1}, "1 problems are too few for 2 prompts a step"),
    ({"curriculum": {}, "dynamic_sampling": 1}, "dynamic_sampling has an order of problems of its own"),
    ({"curriculum": {}, "reward": {"correct": 0.0}}, "how often problems are solved, which counts nothing here"),
    ({"mtp": {}, "lora": {}}, "mtp trains a module beside the whole model: leave it or lora out"),
    ({"adam_learning_rate": 1e-4, "lora": {}}, "adam_learning_rate is for a model's own matrices"),
    ({"beta": 0.1, "balance": {"capacity": 1.25}}, "the reference that beta holds it to has all of them"),
    ({"staleness": 1}, "staleness: 1 is for a server, which draws while this process trains"),
])
def test_sizes_that_do_not_fit_are_refused_when_the_recipe_is_read(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Grpo.model_validate({**FIELDS, **changed})


@pytest.mark.parametrize("changed", [
    {"prompt": {"stop": ["</answer>"]}},  # the tag is cut off, so that nothing is answered and nothing truncated
    {"prompt": {"system": "Be right."}},
])
def test_how_questions_are_put_and_answers_end(
    answerer: Path, ask_for: Ask, context: Callable[..., Any], changed: dict[str, Any]
) -> None:
    stage = Grpo.model_validate({**FIELDS, "gate": 0, **changed}, context={"base": ask_for(["3"] * 8)})
    ctx = context(base=answerer)
    if "system" in changed["prompt"]:
        with pytest.raises(PromptError, match="leaves the system prompt out; put it into `instruction`"):
            stage.run(ctx)
        return
    stage.run(ctx)
    told = [row for row in ctx.rows if "verdict/no_answer" in row or "verdict/truncated" in row]
    assert told
    assert max(row.get("verdict/truncated", 0.0) for row in told) < 1.0
    assert sum(row.get("verdict/no_answer", 0.0) for row in told) > 0
