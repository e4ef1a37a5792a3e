"""Effort through the stages: reinforced, sorted, measured, and refused where it makes no sense."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.models import pretrained
from pipeline.results.page import scores
from pipeline.results.report import efforts_of
from pipeline.stages.evaluate import Evaluate
from pipeline.stages.grpo import Grpo
from pipeline.stages.sft import Sft

Ask = Callable[[Sequence[str]], Path]
BUDGETS = {"low": 1, "medium": 3, "high": 9}
GRPO: dict[str, Any] = {
    "model": "base", "problems": ["mine.jsonl"], "problems_each": 8, "steps": 2, "prompts_per_step": 3, "group_size": 4,
    "gate": 2, "max_completion_tokens": 16, "temperature": 1.6, "effort": BUDGETS, "thinking_budget": 3,
    "reward": {"rules": {"effort": 1.0}},
}
EVALUATE: dict[str, Any] = {"models": ["zero"], "problems": ["mine.jsonl"], "problems_each": 4, "rollouts": 2,
                            "max_completion_tokens": 16}


def test_reinforcement_with_efforts_and_a_budget(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    stage = Grpo.model_validate(GRPO, context={"base": ask_for(["3", "4"] * 4)})
    runs = [context(base=answerer) for _ in range(2)]
    for ctx in runs:
        stage.run(ctx)
    first, second = ((ctx.out / "model" / "model.safetensors").read_bytes() for ctx in runs)
    assert first == second
    tokenizer = pretrained.load_tokenizer(answerer)
    for row in runs[0].rows:
        kept = runs[0].kept[row["step"]]
        assert Counter(one["effort"] for one in kept) == {"low": 4, "medium": 4, "high": 4}
        for effort, told in (("low", "10"), ("medium", "20"), ("high", "30")):
            own = [one for one in kept if one["effort"] == effort]
            assert all(one["prompt"].endswith(f"{told}<assistant>") for one in own)
            lengths = [len(one["pieces"]) for one in own]
            assert row[f"effort/{effort}/length"] == pytest.approx(sum(lengths) / 4)
            correct = sum(one["verdict"] == "correct" for one in own)
            assert row[f"effort/{effort}/accuracy"] == pytest.approx(correct / 4)
            for one in own:
                # One that opens no thinking, and would close one behind the budget, is cut off there.
                closes = [place for place, piece in enumerate(one["pieces"]) if piece == "</think>"]
                thinking = closes[-1] if closes else 0
                assert one["parts"]["effort"] == -min(1.0, max(0.0, thinking / BUDGETS[effort] - 1))
        cut = [one for one in kept if tokenizer.unk_token not in one["pieces"] and 0.0 in one["logprobs"]]
        assert row["thinking_cut"] == pytest.approx(len(cut) / 12)
        assert all(one["pieces"][3] == "</think>" for one in cut)


@pytest.mark.parametrize(("stage", "fields", "said"), [
    (Grpo, {"effort": {"low": 3, "medium": 3, "high": 9}}, "budgets must rise with the effort, and are low 3, "),
    (Grpo, {"effort": None}, "the rule effort holds thinking against budgets: give them"),
    (Grpo, {"reward": {"rules": {"format": 0.2}}}, "effort changes nothing where no rule looks at it"),
    (Grpo, {"prompt": {"effort": "low"}}, "effort asks with several efforts, and prompt.effort is one"),
    (Grpo, {"prompt": {"template_options": {"reasoning_effort": "low"}}}, "effort sets template_options.reasoning_"),
    (Grpo, {"thinking_budget": 16}, "thinking_budget 16 leaves nothing of max_completion_tokens 16 for the answer"),
    (Sft, {"model": "a", "data": "b", "effort": BUDGETS, "prompt": {"effort": "low"}}, "effort asks with several"),
    (Evaluate, {"prompt": {"effort": "low", "template_options": {"enable_thinking": True}}}, "prompt.effort sets te"),
    (Evaluate, {"budgets": [3], "thinking_budget": 3}, "budgets asks with several thinking budgets"),
    (Evaluate, {"budgets": [3, 8, 3]}, "budgets names one of its values twice"),
    (Evaluate, {"budgets": [3, 16]}, "a thinking budget of 16 leaves nothing of max_completion_tokens 16"),
    (Evaluate, {"thinking_budget": 16}, "a thinking budget of 16 leaves nothing of max_completion_tokens 16"),
    (Evaluate, {"effort": ["low", "low"]}, "effort names one of its values twice"),
])
def test_what_makes_no_sense_is_refused_when_the_recipe_is_read(stage: Any, fields: dict[str, Any], said: str) -> None:
    whole = {Grpo: GRPO, Evaluate: EVALUATE}.get(stage, {})
    with pytest.raises(ValidationError, match=said):
        stage.model_validate({**whole, **fields})


def test_traces_are_asked_with_the_effort_that_holds_their_thinking(
    answerer: Path, tmp_path: Path, context: Callable[..., Any]
) -> None:
    file = tmp_path / "data.jsonl"
    thoughts = ["", "So 3.", "So 3. So 3.", "So 3. So 3. So 3. So 3."]
    file.write_text("".join(json.dumps({"prompt": "Tom has 3 apples.", "completion": f"<think>{one}</think>3"}) + "\n"
                            for one in thoughts))
    fields = {"model": "base", "data": "rows", "epochs": 1, "batch_size": 2, "effort": {**BUDGETS, "medium": 4}}
    metrics = Sft.model_validate(fields).run(context(base=answerer, rows=file))
    # Of 1, 4, 7 and 13 tokens, what opens the thinking included.
    assert {name: metrics.get(f"rows/{name}") for name in BUDGETS} == {"low": 1, "medium": 1, "high": 2}


def test_accuracy_against_tokens_by_effort_and_budget(
    answerer: Path, ask_for: Ask, context: Callable[..., Any]
) -> None:
    fields = {**EVALUATE, "effort": ["low", "high"], "budgets": [2]}
    ctx = context(zero=answerer)
    Evaluate.model_validate(fields, context={"base": ask_for(["3", "4", "3", "3"])}).run(ctx)
    models = json.loads((ctx.out / "report.json").read_text())["models"]
    names = ["mine.jsonl low", "mine.jsonl low thinking 2", "mine.jsonl high", "mine.jsonl high thinking 2"]
    assert list(models["zero"]["problems"]) == names
    told = models["zero"]["protocol"]["mine.jsonl high thinking 2"]
    assert (told["effort"], told["effort_line"], told["thinking_budget"]) == ("high", "30", 2)
    points = efforts_of(models)["zero"]["mine.jsonl"]
    assert [(point["effort"], point["budget"]) for point in points] == [
        ("low", 2), ("low", None), ("high", 2), ("high", None)
    ]
    numbers = models["zero"]["problems"]["mine.jsonl low"]
    assert (points[1]["thinking"], points[1]["tokens"]) == (numbers["thinking"], numbers["mean_length"])
    rows = [json.loads(line) for line in (ctx.out / "zero-mine.jsonl low thinking 2.jsonl").open()]
    assert all(row["text"].partition("</think>")[0].count(" ") <= 2 for row in rows)
    (chart,) = scores.of_efforts(efforts_of(models))
    assert chart.title == "Accuracy against tokens on mine.jsonl, by effort and thinking budget"
    assert [value["model"] for value in chart.values] == ["zero, low"] * 2 + ["zero, high"] * 2
