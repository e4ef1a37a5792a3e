"""Reinforcement computes in training mode what rollouts were drawn by."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pipeline.rl.scoring.dropout import without_dropout
from tests.pipeline.rl.test_trainer import policy, trainer
from tests.pipeline.training.test_resumable import checkpoints

IDS = torch.arange(4, 20).view(1, -1)


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
         "intermediate_size": 48}


@pytest.mark.parametrize(("family", "fields"), [
    ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "resid_pdrop": 0.5, "attn_pdrop": 0.5}),
    ("granite", {**SIZES, "attention_dropout": 0.5}),
    ("seed_oss", {**SIZES, "residual_dropout": 0.5}),
    ("starcoder2", {**SIZES, "residual_dropout": 0.5, "embedding_dropout": 0.5}),
    ("falcon", {**SIZES, "hidden_dropout": 0.5}),
    ("mixtral", {**SIZES, "router_jitter_noise": 0.5}),
])
def test_whatever_drops_is_off_and_comes_back(family: str, fields: dict[str, Any]) -> None:
    config = AutoConfig.for_model(family, vocab_size=48, initializer_range=0.5, **fields)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    expected, before = model.eval()(IDS).logits, model.config.to_dict()
    model.train()
    with without_dropout(model):
        assert torch.equal(model(IDS).logits, expected)
    assert not torch.equal(model(IDS).logits, expected)
    assert model.config.to_dict() == before


def test_a_policy_with_dropout_has_not_moved_before_an_update(tiny: Any, tmp_path: Path) -> None:
    model = policy(tiny, "qwen3")
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.3
    made = trainer(model, tmp_path)
    seen: list[float] = []
    whole = made._forwards

    def watched(now: Any, batch: Any) -> Any:
        for rows, part, found in whole(now, batch):
            if made.state.global_step == 0:
                apart = (found[0] - part.logprobs) * part.completion_mask
                seen.append(float(apart.detach().abs().max()))
            yield rows, part, found

    made._forwards = watched  # type: ignore[method-assign]
    made.train_with(checkpoints(tmp_path, None))
    assert 0 < max(seen) < 1e-4
    assert model.model.layers[0].self_attn.attention_dropout == 0.3
