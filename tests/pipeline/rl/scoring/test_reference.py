"""The reference is the policy of the start, by whatever way log-probabilities are computed."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.rl.objectives.objective import Objective
from pipeline.training import logprobs
from pipeline.training.logprobs import fused_head
from tests.pipeline.rl.test_trainer import policy, trainer


@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe"])
@pytest.mark.parametrize("held", [True, False])
def test_nothing_has_moved_at_the_start(
    tiny: Any, tmp_path: Path, family: str, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where logits are not held, as on GPUs, the head's log-probabilities are trl's for policy and reference alike."""
    if not held:
        monkeypatch.setattr(logprobs, "few", lambda *_: False)
        monkeypatch.setattr(logprobs, "head_alone", lambda _: False)
    made = trainer(policy(tiny, family), tmp_path, objective=Objective("grpo", beta=0.1))
    with fused_head(made.policy, made.temperature):
        made.begin_round(0)
    for batch in made.minibatches:
        assert batch.reference is not None
        assert torch.allclose(batch.reference, batch.logprobs, atol=1e-4)
