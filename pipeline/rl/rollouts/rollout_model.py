"""Copies of the policy: one in another precision that rollouts come from, and one that stays what the policy was at the
start."""

import torch

from eval.language_model import LanguageModel
from pipeline.models.build import keep_buffers, prepare
from pipeline.models.shards import built_whole, whole


def frozen_copy(policy: LanguageModel, dtype: torch.dtype, device: torch.device) -> LanguageModel:
    """A model of the policy's architecture with its weights of now in `dtype`, in evaluation mode, without gradients.

    It is built anew and not deep-copied: copies of hooks (balance, replay) would count and steer its forwards, too.
    Adapters are not part of the architecture, so the policy must have none.
    """
    # Its first weights are drawn, and thrown away: the training's stream is not to know of them.
    with torch.random.fork_rng(devices=[]), built_whole():
        made: LanguageModel = type(policy)._from_config(policy.config, dtype=dtype)  # type: ignore[attr-defined]
    keep_buffers(made, policy)
    copy = prepare(made).to(device).requires_grad_(False)
    copy.eval()
    # What ends a text may stand there alone, and not in the config.
    copy.generation_config = policy.generation_config
    load_weights(copy, policy)
    return copy


@torch.no_grad()
def load_weights(copy: LanguageModel, policy: LanguageModel) -> None:
    """Give the copy the policy's parameters and buffers of now, rounded to its precision."""
    for own, other in zip(_tensors(copy), _tensors(policy), strict=True):
        own.copy_(whole(other))


def _tensors(model: LanguageModel) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


class RolloutModel:
    """`model` is the policy where `dtype` is None or the policy's own; else a copy that `refresh` brings up to date.

    Of a policy that will lie in parts it is a whole copy on each process: rollouts are decoded by each at its own pace,
    which collective forwards cannot.
    """

    def __init__(
        self, policy: LanguageModel, dtype: torch.dtype | None, device: torch.device, *, parted: bool = False
    ) -> None:
        """`parted` says what becomes of the policy, which is whole here, and `device` where it will be."""
        dtype = policy.dtype if dtype is None else dtype
        self.policy = policy
        self.model = policy if dtype == policy.dtype and not parted else frozen_copy(policy, dtype, device)

    def refresh(self) -> None:
        """Give the copy the policy's weights of now; all processes call it together."""
        if self.model is not self.policy:
            load_weights(self.model, self.policy)
