"""How far the program that draws is from the policy: logged each round, and past a bound the training stops."""

import torch
from accelerate.utils import gather_object

from pipeline.disk.durable import JsonObject
from pipeline.moe.replay import divergence
from pipeline.rl.batch import Batch
from pipeline.rl.objectives.loss import truncated_importance
from pipeline.rl.objectives.objective import MOST_IMPORTANCE
from pipeline.serving.section import Vllm
from pipeline.serving.served import require_alike


class SamplerGap:
    """Measures each round's rollouts, whose log-probabilities both sides have told."""

    def __init__(self, vllm: Vllm) -> None:
        self.vllm = vllm
        self.last: dict[str, float] = {}

    def measure(self, batch: Batch) -> None:
        """Of all processes, which call it together. Raises StageError where vLLM does not draw from the policy."""
        assert batch.sampler_logprobs is not None
        # NaN is a token that vLLM has said nothing of.
        told = batch.drawn_mask.bool() & ~batch.sampler_logprobs.isnan()
        policy, sampler = batch.logprobs[told], batch.sampler_logprobs[told]
        weights = truncated_importance(policy, sampler, torch.ones_like(policy), MOST_IMPORTANCE)
        kl = divergence(policy, sampler, torch.ones_like(policy)) if len(policy) else 0.0
        own = (kl * len(policy), float(weights.sum()), int((weights >= MOST_IMPORTANCE).sum()), len(policy))
        apart, weight, truncated, tokens = (sum(part) for part in zip(*gather_object([own]), strict=True))
        names = ("vllm/kl", "vllm/importance", "vllm/truncated")
        self.last = {
            name: total / max(1, tokens) for name, total in zip(names, (apart, weight, truncated), strict=True)
        }
        require_alike(self.last["vllm/kl"], self.vllm, "the policy")

    def figures(self) -> dict[str, float]:
        """For metrics.jsonl: the KL divergence a token of the policy from what drew, the mean weight of a token, and
        the share of tokens whose weight was cut."""
        return self.last

    def state(self) -> JsonObject:
        return self.last

    def restore(self, state: JsonObject) -> None:
        self.last = state
