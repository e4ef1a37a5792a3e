"""Models in another precision: what is in fp32 in every model stays so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.ends import ends_of
from pipeline.models import pretrained
from pipeline.models.build import cast
from pipeline.models.positions import rescaled
from pipeline.rl.rollouts.rollout_model import frozen_copy
from tests.pipeline.training.test_resumable import TOKENIZER

Tiny = Callable[..., Any]
IDS = torch.randint(4, 48, (3, 40), generator=torch.Generator().manual_seed(0))
BIAS = "model.layers.1.mlp.gate.e_score_correction_bias"


@pytest.fixture
def halved(tiny: Tiny) -> Any:
    """In bfloat16, with biases of experts that bfloat16 would round."""
    model = tiny("deepseek_v3", vocab_size=len(TOKENIZER)).eval()
    cast(model, torch.bfloat16)
    model.get_buffer(BIAS).copy_(2 + torch.arange(len(model.get_buffer(BIAS))) / 1000)
    return model


def test_parameters_alone_are_cast(halved: Any) -> None:
    assert {one.dtype for one in halved.parameters()} == {torch.bfloat16}
    assert {one.dtype for one in halved.buffers()} == {torch.float32}


def test_the_model_in_memory_is_the_one_that_is_saved(halved: Any, tmp_path: Path) -> None:
    for model in (halved, rescaled(halved, 256, None)):
        pretrained.save(model, TOKENIZER, tmp_path)  # which audits
        again = pretrained.load(tmp_path)[0].eval()
        assert torch.equal(again.get_buffer(BIAS), halved.get_buffer(BIAS))
        assert torch.equal(again(IDS).logits, halved(IDS).logits)


def test_a_copy_ends_where_the_policy_does(halved: Any) -> None:
    halved.generation_config.eos_token_id = [2, 5]  # as Qwen's and gpt-oss's makers have several, there alone
    copy = frozen_copy(halved, torch.float32, torch.device("cpu"))
    assert ends_of(TOKENIZER, copy) == ends_of(TOKENIZER, halved) >= {2, 5}


def test_a_copy_takes_the_same_experts(halved: Any) -> None:
    copy = frozen_copy(halved, torch.bfloat16, torch.device("cpu"))
    assert torch.equal(copy.get_buffer(BIAS), halved.get_buffer(BIAS))
    assert torch.equal(copy(IDS).logits, halved(IDS).logits)
