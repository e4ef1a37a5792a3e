"""The model that rollouts come from: the policy itself, or a copy of it in another precision."""

from typing import Any

import torch

from pipeline.models.pretrained import prepare


class RolloutModel:
    """`model` is the policy where `dtype` is None or the policy's own; else a copy that `refresh` brings up to date.

    The copy has no adapters: a policy that is trained through some is not to be given here with a `dtype`.
    """

    def __init__(self, policy: Any, dtype: torch.dtype | None) -> None:
        self.policy = self.model = policy
        if dtype is not None and dtype != policy.dtype:
            self.model = prepare(type(policy)._from_config(policy.config, dtype=dtype)).to(policy.device).requires_grad_(False).eval()

    @torch.no_grad()
    def refresh(self) -> None:
        """Give the copy the policy's weights of now."""
        if self.model is not self.policy:
            for own, other in zip(self._tensors(self.model), self._tensors(self.policy), strict=True):
                own.copy_(other)

    @staticmethod
    def _tensors(model: Any) -> list[torch.Tensor]:
        return [*model.parameters(), *model.buffers()]
