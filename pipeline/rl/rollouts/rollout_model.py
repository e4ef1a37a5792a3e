"""Copies of the policy: one in another precision that rollouts come from, and one that stays what the policy was at the
start."""

import torch

from eval.language_model import LanguageModel
from pipeline.models.build import prepare


def frozen_copy(policy: LanguageModel, dtype: torch.dtype) -> LanguageModel:
    """A model of the policy's architecture with its weights of now in `dtype`, in evaluation mode, without gradients.

    It is built anew and not deep-copied: copies of hooks (balance, replay) would count and steer its forwards, too.
    Adapters are not part of the architecture, so the policy must have none.
    """
    made: LanguageModel = type(policy)._from_config(policy.config, dtype=dtype)  # type: ignore[attr-defined]
    copy = prepare(made).to(policy.device).requires_grad_(False)
    copy.eval()
    load_weights(copy, policy)
    return copy


@torch.no_grad()
def load_weights(copy: LanguageModel, policy: LanguageModel) -> None:
    """Give the copy the policy's parameters and buffers of now, rounded to its precision."""
    for own, other in zip(_tensors(copy), _tensors(policy), strict=True):
        own.copy_(other)


def _tensors(model: LanguageModel) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


class RolloutModel:
    """`model` is the policy where `dtype` is None or the policy's own; else a copy that `refresh` brings up to date."""

    def __init__(self, policy: LanguageModel, dtype: torch.dtype | None) -> None:
        same = dtype is None or dtype == policy.dtype
        self.policy = policy
        self.model = policy if same else frozen_copy(policy, dtype)  # type: ignore[arg-type]

    def refresh(self) -> None:
        """Give the copy the policy's weights of now."""
        if self.model is not self.policy:
            load_weights(self.model, self.policy)
