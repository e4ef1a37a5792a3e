"""`upcycle`, and that what it makes is trained, balanced and asked like any other model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.models import pretrained, upcycling
from pipeline.models.upcycling import Form
from pipeline.moe.balancing import Balancing
from pipeline.stages.sft import Sft
from pipeline.stages.upcycle import Upcycle


def test_a_mixture_is_made_and_trained(answerer: Path, tmp_path: Path, context: Callable[..., Any]) -> None:
    ctx = context(1, base=answerer)
    metrics = Upcycle(model="base", experts=4, top_k=2).run(ctx)
    assert metrics["largest_difference_of_logits"] < 1e-5
    assert metrics["parameters_of_dense"] < metrics["parameters"]
    model, tokenizer = pretrained.load(ctx.out)
    assert model.config.model_type == "qwen3_moe"
    assert tokenizer.chat_template
    row = {"prompt": "Tom has 3 apples.", "completion": "<think>So 3.</think><answer>3</answer>"}
    (tmp_path / "rows.jsonl").write_text((json.dumps(row) + "\n") * 8)
    after = context(1, base=ctx.out, rows=tmp_path / "rows.jsonl")
    trained = Sft(model="base", data="rows", batch_size=4, balance=Balancing(load=1e-2)).run(after)
    assert trained["steps"] == 4
    assert trained["parameters"] == metrics["parameters"]


def test_the_same_seed_makes_the_same_bytes(answerer: Path, context: Callable[..., Any]) -> None:
    runs = [context(seed, base=answerer) for seed in (1, 1, 2)]
    for ctx in runs:
        Upcycle(model="base", experts=2, top_k=1, segments=1).run(ctx)
    first, again, other = ((ctx.out / "model" / "model.safetensors").read_bytes() for ctx in runs)
    assert first == again != other


@pytest.mark.parametrize("factor", [1.01, float("nan")])
def test_a_mixture_that_computes_something_else_is_not_saved(
    answerer: Path, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    def wrong(model: LanguageModel, form: Form, seed: int) -> LanguageModel:
        mixture = upcycling.upcycled(model, form, seed)
        with torch.no_grad():
            next(mixture.parameters()).mul_(factor)
        return mixture

    monkeypatch.setattr("pipeline.stages.upcycle.upcycled", wrong)
    ctx = context(base=answerer)
    with pytest.raises(StageError, match="does not compute what the dense model does"):
        Upcycle(model="base").run(ctx)
    assert not (ctx.out / "model").exists()


def test_a_mixture_in_half_precision_passes(answerer: Path, context: Callable[..., Any]) -> None:
    metrics = Upcycle(model="base", segments=2, experts=4, top_k=2, dtype="bfloat16").run(context(base=answerer))
    assert metrics["largest_difference_of_logits"] > 0


def test_a_model_that_was_saved_in_float16_passes(
    answerer: Path, tmp_path: Path, context: Callable[..., Any]
) -> None:
    model, tokenizer = pretrained.load(answerer)
    pretrained.save(model.to(torch.float16), tokenizer, tmp_path / "half")
    ctx = context(base=tmp_path / "half")
    Upcycle(model="base", experts=4, top_k=2).run(ctx)
    assert pretrained.load(ctx.out)[0].dtype is torch.float16


@pytest.mark.parametrize(("fields", "said"), [
    ({"experts": 4, "top_k": 8}, "a token cannot take 8 of 4 experts"),
    ({"experts": 9, "top_k": 2, "segments": 2}, "experts is 9, which is no multiple of segments"),
    ({"experts": 8, "top_k": 3, "segments": 2}, "top_k is 3, which is no multiple of segments"),
    ({"shared": 1.0}, "less than 1"),
])
def test_forms_that_do_not_exist_are_told_before_a_run(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Upcycle.model_validate({"model": "base", **fields})
