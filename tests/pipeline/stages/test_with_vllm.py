"""`sample`, `evaluate` and the gate of `grpo` with a server: the same rollouts as the native engine's, from a server
that began with other weights."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.contract.errors import StageError
from pipeline.models import pretrained
from pipeline.stages.evaluate import Evaluate
from pipeline.stages.grpo import Grpo
from pipeline.stages.sample import Sample
from tests.vllm_stand_in import StandIn, served_by

Ask = Callable[[Sequence[str]], Path]


@pytest.fixture
def other(answerer: Path) -> Any:
    """A model of the answerer's architecture that says something else."""
    model, _ = pretrained.load(answerer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-0.5)
    return model


def test_they_ask_the_model_that_they_have_sent(
    answerer: Path, other: Any, ask_for: Ask, context: Callable[..., Any]
) -> None:
    folder = ask_for(["3", "4", "3"])
    shared = {"problems": ["mine.jsonl"], "problems_each": 3, "rollouts": 2, "max_completion_tokens": 24}
    with served_by(StandIn(other)) as url:
        served = {"engine": "vllm", "vllm": {"url": url}}
        ctx = context(zero=answerer)
        Evaluate.model_validate({**shared, "models": ["zero"], **served}, context={"base": folder}).run(ctx)
        report = json.loads((ctx.out / "report.json").read_text())["models"]["zero"]
    assert report["engine"] == "vllm"
    assert report["problems"]["mine.jsonl"]["pass@1"] == pytest.approx(2 / 3, abs=0.2)
    with served_by(StandIn(other)) as url:
        ctx = context(zero=answerer)
        sampled = Sample.model_validate(
            {**shared, "model": "zero", "readable": False, "engine": "vllm", "vllm": {"url": url}},
            context={"base": folder},
        )
        assert sampled.run(ctx)["kept"] > 0
    assert not list(ctx.checkpoints.folder.parent.glob("vllm/weights"))


def test_a_server_with_another_model_is_found_out(
    answerer: Path, ask_for: Ask, context: Callable[..., Any]
) -> None:
    folder = ask_for(["3"])

    def spoil(model: Any) -> None:
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(-1)

    model, _ = pretrained.load(answerer)
    found_out = pytest.raises(StageError, match="does not draw from this model")
    with served_by(StandIn(model, fault=spoil)) as url, found_out:
        fields = {"problems": ["mine.jsonl"], "problems_each": 1, "models": ["zero"], "engine": "vllm"}
        stage = Evaluate.model_validate({**fields, "vllm": {"url": url}}, context={"base": folder})
        stage.run(context(zero=answerer))


def gated(folder: Path, url: str) -> Grpo:
    fields = {"model": "base", "problems": ["mine.jsonl"], "problems_each": 4, "steps": 1, "prompts_per_step": 2,
              "group_size": 2, "updates_per_step": 1, "gate": 3, "max_completion_tokens": 24}
    return Grpo.model_validate({**fields, "engine": "vllm", "vllm": {"url": url}}, context={"base": folder})


COMPARED, ASKED = 4, 4 * 3
"""Answers that are held against the model, and those of the gate."""


def test_the_gate_asks_the_server(answerer: Path, other: Any, ask_for: Ask, context: Callable[..., Any]) -> None:
    with served_by(stand_in := StandIn(other)) as url:
        metrics = gated(ask_for(["3"] * 4), url).run(context(base=answerer))
    assert metrics["before/pass@3"] == 1.0
    assert len(stand_in.bodies) == COMPARED + ASKED + 2 * 2


def test_the_gate_stops_what_the_server_says_is_hopeless(
    answerer: Path, other: Any, ask_for: Ask, context: Callable[..., Any]
) -> None:
    with served_by(stand_in := StandIn(other)) as url:
        stage = gated(ask_for(["7"] * 4), url)
        with pytest.raises(StageError, match="nothing to amplify: base solves 0% of its own prompts in 3 tries"):
            stage.run(context(base=answerer))
    assert len(stand_in.bodies) == COMPARED + ASKED


def test_one_process_of_several_asks_for_the_gate(
    answerer: Path, other: Any, ask_for: Ask, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = pretrained.load(answerer)
    monkeypatch.setenv("RANK", "1")
    with served_by(stand_in := StandIn(other)) as url:
        stage, ctx = gated(ask_for(["7"] * 4), url), context(base=answerer)
        with stage._served(ctx, model, tokenizer) as server:
            assert stage._gate(ctx, model, tokenizer, [], server) == {}
    assert stand_in.bodies == []
