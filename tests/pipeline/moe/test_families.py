"""Every family of MoE through the stages, as a tiny random model that is taught one answer and goes on from there.

With tests elsewhere (resume, LoRA, scaled positions) these are the cells of the table in benchmarks/README.md, which
`table.py` writes.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.contract.errors import StageError
from pipeline.data.rows import read_rows
from pipeline.models import pretrained
from pipeline.models.lora import Lora
from pipeline.models.tokenizer import train_tokenizer
from pipeline.moe.routers import routers
from pipeline.stages.distill import Distill
from pipeline.stages.evaluate import Evaluate
from pipeline.stages.extend import Extend
from pipeline.stages.grpo import Grpo
from pipeline.stages.sample import Sample
from pipeline.stages.sft import Sft
from tests.pipeline.stages.conftest import PROMPTS, SAYS

Tiny = Callable[..., Any]
Context = Callable[..., Any]
FAMILIES = (
    "mixtral", "dbrx", "deepseek_v2", "deepseek_v3", "qwen2_moe", "qwen3_moe", "qwen3_moe_every_second", "olmoe",
    "gpt_oss", "jamba",
)
TOKENIZER = train_tokenizer([*PROMPTS, SAYS], 96)
LONGER = {"max_seq_len": 96, "max_position_embeddings": 96}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def losses(ctx: Any) -> list[float]:
    return [row["loss"] for row in ctx.rows if "loss" in row]


def moved_routers(folder: Path, start: Any) -> bool:
    """Whether every router's weights are others than at the start."""
    model = pretrained.load(folder)[0]
    pairs = zip(routers(model), routers(start), strict=True)
    return all(
        not torch.equal(a, b) for one, other in pairs
        for a, b in zip(one.module.parameters(), other.module.parameters(), strict=True)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Problems whose answer is 3, and one whose answer is 4; traces that say 3; longer ones."""
    made = tmp_path_factory.mktemp("families")
    problems = [{"prompt": prompt, "answer": "3", "id": f"p{i}"} for i, prompt in enumerate(PROMPTS)]
    traces = [{"prompt": prompt, "completion": SAYS} for prompt in PROMPTS]
    longer = [{"prompt": f"{PROMPTS[i]} {PROMPTS[i]} {PROMPTS[i]}", "completion": SAYS} for i in range(len(PROMPTS))]
    mixed = [{**problem, "answer": "34"[i % 2]} for i, problem in enumerate(problems)]
    for name, rows in (("threes", problems), ("mixed", mixed), ("traces", traces), ("longer", longer)):
        (made / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


@pytest.fixture
def start(tiny: Tiny, family: str) -> Any:
    longer = {name: value for name, value in LONGER.items() if (name == "max_seq_len") == (family == "dbrx")}
    return tiny(family, vocab_size=len(TOKENIZER), initializer_range=0.1, **longer)


@pytest.fixture
def taught(family: str, start: Any, context: Context, folder: Path, made_once: Callable[..., Path]) -> Path:
    """The family's model after `sft` on the traces: it thinks and says 3."""

    def teach(place: Path) -> None:
        pretrained.save(start, TOKENIZER, place / "start")
        ctx = context(base=place / "start", traces=folder / "traces.jsonl")
        ctx.out = place
        Sft(model="base", data="traces", epochs=14, batch_size=8, learning_rate=0.02, adam_learning_rate=1e-2).run(ctx)
        (place / "rows.json").write_text(json.dumps(ctx.rows))

    return made_once(f"taught-{family}", teach)


def test_sft_learns_and_reaches_every_router(taught: Path, start: Any) -> None:
    rows = json.loads((taught / "rows.json").read_text())
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]
    assert all(row["moe/max_over_mean"] >= 1 for row in rows)
    assert moved_routers(taught, start)


def test_extend_learns_longer_texts(taught: Path, context: Context, folder: Path) -> None:
    ctx = context(base=taught / "start", rows=folder / "longer.jsonl")
    stage = Extend.model_validate({
        "model": "base", "data": "rows", "phases": [{"length": 128, "steps": 8}, {"length": 160, "steps": 8}],
        "batch_size": 4, "learning_rate": 0.01, "adam_learning_rate": 5e-3,
    })
    metrics = stage.run(ctx)
    spans = [metrics["loss_by_position"][when] for when in ("before", "after")]
    before, after = (sum(loss for loss in found if loss is not None) for found in spans)
    assert after < 0.8 * before
    assert metrics["length"] == 160
    assert metrics["expert_load_max_over_mean"] >= 1
    assert pretrained.context_length(pretrained.load(ctx.out)[0]) in (None, 160)


def test_sampled_traces_are_what_was_taught(taught: Path, context: Context, folder: Path) -> None:
    ctx = context(zero=taught)
    fields = {"model": "zero", "problems": ["mixed.jsonl"], "problems_each": 16, "rollouts": 2, "temperature": 0.0}
    metrics = Sample.model_validate(fields, context={"base": folder}).run(ctx)
    assert {row["completion"] for row in read_rows(ctx.out)} == {SAYS}
    assert (metrics["kept"], metrics["dropped/wrong"]) == (8, 16)


def test_evaluation_counts_them(taught: Path, context: Context, folder: Path) -> None:
    ctx = context(zero=taught)
    fields = {"models": ["zero"], "problems": ["mixed.jsonl"], "problems_each": 16, "rollouts": 2, "temperature": 0.0}
    Evaluate.model_validate(fields, context={"base": folder}).run(ctx)
    found = json.loads((ctx.out / "report.json").read_text())["models"]["zero"]["problems"]["mixed.jsonl"]
    assert (found["pass@1"], found["truncated"]) == (0.5, 0.0)


def test_a_student_learns_from_its_traces(
    taught: Path, tiny: Tiny, tmp_path: Path, context: Context, folder: Path
) -> None:
    ctx = context(zero=taught)
    fields = {"model": "zero", "problems": ["threes.jsonl"], "problems_each": 16, "rollouts": 1, "temperature": 0.0}
    Sample.model_validate(fields, context={"base": folder}).run(ctx)
    student = tiny("qwen3", vocab_size=len(TOKENIZER), max_position_embeddings=96, initializer_range=0.1)
    pretrained.save(student, TOKENIZER, tmp_path / "student")
    other = context(student=tmp_path / "student", traces=ctx.out)
    Distill(
        student="student", traces="traces", epochs=6, batch_size=8, learning_rate=0.02, adam_learning_rate=1e-2
    ).run(other)
    assert losses(other)[-1] < 0.7 * math.log(len(TOKENIZER))  # what a random student begins with


def test_grpo_replays_and_reaches_every_router(taught: Path, context: Context, folder: Path) -> None:
    """Half of the problems want another answer; all of the defaults for MoE are on: balance, replay, sequence-level
    ratios."""
    ctx = context(base=taught)
    fields = {"model": "base", "problems": ["mixed.jsonl"], "problems_each": 16, "steps": 3,
              "prompts_per_step": 4, "group_size": 4,
              "gate": 0, "max_completion_tokens": 12, "temperature": 1.5, "learning_rate": 2e-3,
              "schedule": {"warmup_steps": 0}}
    metrics = Grpo.model_validate(fields, context={"base": folder}).run(ctx)
    rows = [row for row in ctx.rows if "reward" in row]
    assert all(0 <= row["replay/tokens_differing"] < 0.5 for row in rows)
    assert all(row["replay/kl"] < 0.05 for row in rows)
    assert metrics["expert_load_max_over_mean"] >= 1
    assert moved_routers(ctx.out, pretrained.load(taught)[0])


def test_base_and_adapter_are_the_model(taught: Path, context: Context, folder: Path) -> None:
    """After `sft` and after `grpo`, as anyone would load them with peft; the biases of routers stay where they are."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    tuned = context(base=taught, traces=folder / "traces.jsonl")
    Sft(model="base", data="traces", batch_size=8, learning_rate=1e-2, lora=Lora(rank=2)).run(tuned)
    reinforced = context(base=taught)
    fields = {"model": "base", "problems": ["mixed.jsonl"], "problems_each": 16, "steps": 2, "prompts_per_step": 4,
              "group_size": 4, "gate": 0, "max_completion_tokens": 12, "temperature": 1.5, "learning_rate": 2e-2,
              "schedule": {"warmup_steps": 0}, "lora": {"rank": 2}}
    Grpo.model_validate(fields, context={"base": folder}).run(reinforced)
    ids = torch.tensor([TOKENIZER(PROMPTS[0])["input_ids"]])
    before = AutoModelForCausalLM.from_pretrained(taught / "model").eval()(ids).logits
    for ctx in (tuned, reinforced):
        base = AutoModelForCausalLM.from_pretrained(taught / "model")
        together = PeftModel.from_pretrained(base, ctx.out / "adapter").eval()(ids).logits
        alone = AutoModelForCausalLM.from_pretrained(ctx.out / "model").eval()(ids).logits
        assert torch.allclose(together, alone, atol=1e-5)
        assert not torch.allclose(alone, before, atol=1e-3)


def test_a_bias_that_an_adapter_cannot_hold_is_not_moved(taught: Path, context: Context, folder: Path) -> None:
    ctx = context(base=taught, traces=folder / "traces.jsonl")
    stage = Sft.model_validate({
        "model": "base", "data": "traces", "batch_size": 8, "learning_rate": 1e-2, "lora": {"rank": 2},
        "balance": {"bias_speed": 1e-3},
    })
    if routers(pretrained.load(taught)[0])[0].bias is None:
        pytest.skip("this family's routers have no bias")
    with pytest.raises(StageError, match="an adapter cannot hold the routers' bias"):
        stage.run(ctx)
