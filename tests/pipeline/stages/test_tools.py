"""Tools through the stages: reinforced, sampled, learned from, measured, and refused where it makes no sense."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from eval.tools.conversation import Conversations
from pipeline.data.rows import read_rows
from pipeline.data.tokenized import Wanted, tokenized
from pipeline.models import pretrained
from pipeline.results.viewer.files import KeptFile
from pipeline.results.viewer.shape import whole
from pipeline.stages.evaluate import Evaluate
from pipeline.stages.grpo import Grpo
from pipeline.stages.sample import Sample
from tests.pipeline.stages.conftest import CALLS
from tests.pipeline.training.test_resumable import PowerCut, checkpoints

Ask = Callable[[Sequence[str]], Path]
TOOLS = {"use": ["calculator"], "turns": 2, "observation": 4}
GRPO: dict[str, Any] = {
    "model": "base", "problems": ["mine.jsonl"], "problems_each": 8, "steps": 4, "prompts_per_step": 2, "group_size": 4,
    "gate": 2, "max_completion_tokens": 24, "temperature": 1.3, "tools": TOOLS, "learning_rate": 1e-3,
}


def weights(ctx: Any) -> bytes:
    return Path(ctx.out / "model" / "model.safetensors").read_bytes()


def test_reinforcement_with_a_tool_goes_on_inside_a_conversation_to_the_same_bytes(
    caller: Path, ask_for: Ask, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Grpo.model_validate(GRPO, context={"base": ask_for(["3", "4"] * 4)})
    ctx, cut, again = (context(base=caller) for _ in range(3))
    stage.run(ctx)
    assert sum(row["calls"] for row in ctx.rows) > 1
    for row in ctx.rows:
        kept = ctx.kept[row["step"]]
        assert row["calls"] == pytest.approx(sum(len(one.get("observations", ())) for one in kept) / 8)
        for one in kept:
            assert one["prompt"].endswith("\ncalculator<assistant>")
            for begin, end in one.get("observations", ()):
                assert one["text"][:begin].endswith("</call>")
                assert one["text"][begin:end].startswith("<result>")
                assert one["text"][begin:end].endswith("</result>")
            forced = [piece for piece, value in zip(one["pieces"], one["logprobs"], strict=True) if value == 0.0]
            assert "".join(forced).count("<result>") >= len(one.get("observations", ()))

    turn, begun = Conversations._turn, list[int]()

    def turn_of(self: Conversations, *args: Any, **others: Any) -> None:
        begun.append(len(self.found))
        if begun.count(0) == 4 and begun[-1]:  # the gate's, then the third round's: a call of it has been answered
            raise PowerCut
        turn(self, *args, **others)

    cut.checkpoints = checkpoints(cut.out, 2)
    with monkeypatch.context() as patched:
        patched.setattr(Conversations, "_turn", turn_of)
        with pytest.raises(PowerCut):
            stage.run(cut)
    again.checkpoints = checkpoints(cut.out, None, again.notes)
    stage.run(again)
    assert "goes on from its checkpoint at step" in "".join(again.notes)
    assert weights(again) == weights(ctx)


def test_what_a_tool_wrote_is_in_the_rows_and_is_not_learned(
    caller: Path, ask_for: Ask, context: Callable[..., Any], tmp_path: Path
) -> None:
    ctx = context(zero=caller)
    fields = {"model": "zero", "problems": ["mine.jsonl"], "problems_each": 4, "rollouts": 2, "temperature": 0.0,
              "tools": TOOLS}
    metrics = Sample.model_validate(fields, context={"base": ask_for(["3", "4", "3", "3"])}).run(ctx)
    kept = read_rows(ctx.out)
    assert metrics["kept"] == len(kept) > 0
    tokenizer = pretrained.load_tokenizer(caller)
    rows = tokenized(tmp_path / "cache", tokenizer, Wanted(ctx.out), print)
    for number, row in enumerate(kept):
        assert row["prompt"].endswith("\ncalculator")
        assert row["completion"] == CALLS
        [[begin, end]] = row["not_learned"]
        assert row["completion"][begin:end] == "<result>3</result>"
        made = rows.row(number, 0.0, 99)
        learned = [one for one, weight in zip(made["input_ids"], made["weights"], strict=True) if weight]
        assert tokenizer.decode(learned) == CALLS.replace("<result>3</result>", "") + "<eos>"
        assert made["input_ids"][-1] == tokenizer.eos_token_id


def test_measured_with_a_tool_and_without(caller: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    folder = ask_for(["3"] * 4)
    fields: dict[str, Any] = {"models": ["zero"], "problems": ["mine.jsonl"], "problems_each": 4, "rollouts": 2}
    ctx = context(zero=caller)
    Evaluate.model_validate({**fields, "tools": TOOLS}, context={"base": folder}).run(ctx)
    report = json.loads((ctx.out / "report.json").read_text())["models"]["zero"]
    assert report["problems"]["mine.jsonl"]["pass@1"] > 0.5
    protocol = report["protocol"]["mine.jsonl"]
    assert (protocol["tools"], protocol["turns"], protocol["observation"]) == (["calculator"], 2, 4)
    [file] = ctx.out.glob("*.jsonl")
    found = [json.loads(line) for line in file.read_text().splitlines()]
    called = [row for row in found if row.get("observations")]
    assert called
    for row in called:
        shown = whole(row, KeptFile("score", "evaluate", file))
        assert shown is not None
        assert shown["observations"] == row["observations"]
    row = {**called[0], "observations": [[2, len(called[0]["text"]) + 1]]}
    shown = whole(row, KeptFile("score", "evaluate", file))
    assert shown is not None
    assert "observations" not in shown, "what is no part of the text is not shown"


@pytest.mark.parametrize(("stage", "fields", "said"), [
    (Grpo, {"thinking_budget": 8}, "tools and a thinking budget do not go together yet"),
    (Grpo, {"engine": "vllm"}, "thinking_budget and tools are for engine: native"),
    (Grpo, {"prompt": {"stop": ["x"]}}, "a tool may say what stops an answer"),
    (Evaluate, {"budgets": [4]}, "tools and a thinking budget do not go together yet"),
    (Sample, {"tools": {"use": ["search"]}}, "documents is the folder that the tool search looks in"),
    (Sample, {"tools": {"use": ["calculator"], "documents": "docs"}}, "documents is the folder that the tool search"),
])
def test_what_makes_no_sense_is_refused(stage: Any, fields: dict[str, Any], said: str) -> None:
    base = GRPO if stage is Grpo else {"problems": ["mine.jsonl"], "tools": TOOLS,
                                       **({"models": ["zero"]} if stage is Evaluate else {"model": "zero"})}
    with pytest.raises(ValidationError, match=said):
        stage.model_validate({**base, **fields})
