"""The reference of the KL term: the policy as it was before the first update."""

import contextlib
from collections.abc import Iterator

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from eval.language_model import LanguageModel
from pipeline.rl.batch import Batch
from pipeline.rl.rollouts.rollout_model import frozen_copy
from pipeline.rl.scoring.scoring import Scoring, logprobs_of
from pipeline.training.logprobs import fused_head


class Reference:
    """Log-probabilities under the policy of the start. Made before the first update, and before a checkpoint is loaded.

    A policy that is trained in full is copied, which takes its memory a second time. One that is trained through
    adapters is the reference itself while they are switched off.
    """

    def __init__(self, policy: LanguageModel, temperature: float, device: torch.device, scoring: Scoring) -> None:
        """`device` is where the copy is to be; the policy may come there later."""
        self.policy, self.temperature, self.scoring = policy, temperature, scoring
        # peft sits inside the layers; a policy without such layers is trained in full.
        self._adapters = [module for module in policy.modules() if isinstance(module, BaseTunerLayer)]
        self._copy = None if self._adapters else frozen_copy(policy, policy.dtype, device)

    def logprobs(self, batch: Batch) -> Tensor:
        """Of the completions' tokens, [rows, seq]."""
        model = self._copy or self.policy
        # The policy has its fused head while it is trained; the copy needs one of its own.
        head = fused_head(model, self.temperature) if self._copy else contextlib.nullcontext()
        with self._switched_off(), head:
            return self.scoring.logprobs(batch, lambda part: logprobs_of(model, part, self.temperature))

    @contextlib.contextmanager
    def _switched_off(self) -> Iterator[None]:
        # peft also freezes what it switches off and thaws what it switches on; frozen base weights stay frozen either
        # way
        for module in self._adapters:
            module.enable_adapters(False)
        yield
        for module in self._adapters:
            module.enable_adapters(True)
