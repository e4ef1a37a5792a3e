"""Rehearsals of steps: what is counted, and what makes it more or less."""

import resource
from dataclasses import replace
from typing import Any

import pytest

from pipeline.contract.errors import StageError
from pipeline.costs.rehearsal.steps import Lesson, rehearse
from pipeline.costs.shape import module_of, without_weights
from pipeline.models.lora import Lora
from pipeline.training.learning import Learning
from tests.conftest import TINY

DENSE: dict[str, Any] = {
    "model_type": "qwen3", "vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
}
MIXTURE = {**DENSE, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
ADAMW = Learning.model_validate({"optimizer": {"name": "adamw"}})


def _parameters(config: dict[str, Any]) -> int:
    return sum(one.numel() for one in without_weights(config).parameters())


@pytest.mark.parametrize("config", [DENSE, MIXTURE], ids=["dense", "mixture"])
def test_weights_gradients_and_moments_are_those_of_adamw(config: dict[str, Any]) -> None:
    found, count = rehearse(config, ADAMW, None, "supervised", Lesson(2, 16, 15)), _parameters(config)
    assert found.weights == pytest.approx(4 * count, rel=0.01)
    assert found.gradients == 4 * count
    assert found.optimizer == pytest.approx(8 * count, rel=0.02)


def test_half_precision_has_copies_in_full_precision() -> None:
    half = ADAMW.model_copy(update={"dtype": "bfloat16"})
    found, count = rehearse(DENSE, half, None, "supervised", Lesson(2, 16, 15)), _parameters(DENSE)
    assert found.gradients == 2 * count
    assert found.optimizer == pytest.approx(12 * count, rel=0.02)


@pytest.mark.parametrize("name", ["muon", "nadam", "radam", "rmsprop", "sgd", "adafactor"])
def test_every_optimizer_is_gone_through(name: str) -> None:
    learning = Learning.model_validate({"optimizer": {"name": name}})
    found = rehearse(MIXTURE, learning, None, "supervised", Lesson(2, 16, 15))
    assert 0 <= found.optimizer <= 8.2 * _parameters(MIXTURE)


def test_activations_grow_with_rows_and_are_less_with_checkpointing() -> None:
    config = {**DENSE, "num_hidden_layers": 6, "vocab_size": 64}
    few, many = (rehearse(config, ADAMW, None, "supervised", Lesson(rows, 64, 63)).passing for rows in (4, 16))
    kept = rehearse(config, ADAMW.model_copy(update={"gradient_checkpointing": True}), None, "supervised",
                    Lesson(16, 64, 63)).passing
    assert few < many
    assert kept < many


def test_adapters_have_few_gradients() -> None:
    found = rehearse(DENSE, ADAMW, Lora(rank=2), "supervised", Lesson(2, 16, 15))
    assert 0 < found.gradients < found.weights / 4


@pytest.mark.parametrize(("task", "lesson"), [
    ("supervised", Lesson(2, 16, 15, mtp="with")),
    ("reinforcement", Lesson(4, 16, 15, prompts=1, prompt=8, precise=True, mtp="beside")),
])
@pytest.mark.parametrize("config", [DENSE, MIXTURE], ids=["dense", "mixture"])
def test_a_module_is_counted_with_its_gradients_and_moments(config: dict[str, Any], task: Any, lesson: Lesson) -> None:
    found, alone = (rehearse(config, ADAMW, None, task, one) for one in (lesson, replace(lesson, mtp=None)))
    assert found.module == pytest.approx(16 * module_of(config).parameters, rel=0.02)
    assert found.weights == alone.weights
    assert found.optimizer == pytest.approx(alone.optimizer, rel=0.02)
    assert found.passing > alone.passing + found.module / 2


def test_prompts_that_are_read_once_take_less() -> None:
    whole = rehearse(DENSE, ADAMW, None, "reinforcement", Lesson(16, 48, 16, precise=True))
    shared = rehearse(DENSE, ADAMW, None, "reinforcement", Lesson(16, 16, 16, prompts=2, prompt=32, precise=True))
    assert shared.passing < whole.passing


def test_a_slice_of_logits_is_held_where_there_are_too_many() -> None:
    wide = {**DENSE, "vocab_size": 2**17}
    at_once, sliced = (rehearse(wide, ADAMW, None, "supervised", Lesson(rows, 64, 63)).passing for rows in (8, 16))
    assert sliced < 2 * at_once


def test_what_transformers_does_not_build_is_told() -> None:
    with pytest.raises(StageError, match="transformers"):
        rehearse({**DENSE, "hidden_size": "wide"}, ADAMW, None, "supervised", Lesson(2, 16, 15))


def test_nothing_is_computed() -> None:
    """A model of hundreds of gigabytes is gone through in almost no memory."""
    huge = {**DENSE, "hidden_size": 32768, "intermediate_size": 131072, "head_dim": 128}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert rehearse(huge, ADAMW, None, "supervised", Lesson(2, 16, 15)).weights > 1e11
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


def test_what_depends_on_what_is_in_a_tensor_is_told() -> None:
    with pytest.raises(StageError, match="a step of dbrx cannot be gone through without computing it"):
        rehearse(TINY["dbrx"], ADAMW, None, "supervised", Lesson(2, 16, 15))


@pytest.mark.parametrize("family", sorted(set(TINY) - {"dbrx"}))
def test_every_family_is_gone_through(family: str) -> None:
    found = rehearse(TINY[family], ADAMW, None, "supervised", Lesson(2, 16, 15))
    assert found.weights >= 4 * _parameters(TINY[family])
