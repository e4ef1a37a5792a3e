"""How far what draws is from the policy that is trained: logged each round; of vLLM, past a bound the training stops.

In fp32 the native engine and a training compute the same to rounding, some 5e-6 of a log-probability: what was recorded
while drawing are the policy's. In bfloat16 every program rounds in its own way, and so does the same one with other
rows beside each other: .06 of a log-probability of SmolLM2-135M. Over rollouts of 96 tokens the ratio of a sequence
is then .01 away from 1 before anything is learned, thirty times GSPO's bounds. So it is, and in fp32, where a training
leaves out choices of experts that are full: which ones hangs on what stands beside a token, and what draws has room.
"""

import torch
from accelerate.utils import gather_object

from eval.language_model import LanguageModel
from pipeline.disk.durable import JsonObject
from pipeline.moe.replay import divergence
from pipeline.rl.batch import Batch
from pipeline.rl.objectives.loss import truncated_importance
from pipeline.rl.objectives.objective import MOST_IMPORTANCE
from pipeline.rl.plan import GrpoPlan
from pipeline.serving.section import Vllm
from pipeline.serving.served import require_alike
from pipeline.training.on_processors import computes_in_bfloat16


def rounded_apart(policy: LanguageModel, plan: GrpoPlan) -> bool:
    """Whether log-probabilities of the policy have to be those of the very forwards that are trained."""
    trained = torch.bfloat16 if computes_in_bfloat16(plan.learning.mixed_precision) else policy.dtype
    # vLLM's are never taken for the policy's; in fp32 any forward of the policy has them.
    drawn = torch.float32 if plan.vllm else plan.rollout_dtype or policy.dtype
    return plan.capped or {drawn, trained} != {torch.float32}


class SamplerGap:
    """Measures each round's rollouts, whose log-probabilities both sides have told. The native engine, where no `vllm`
    draws, is never stopped: it is another precision alone."""

    def __init__(self, vllm: Vllm | None) -> None:
        self.vllm = vllm
        self.last: dict[str, float] = {}

    def measure(self, batch: Batch) -> None:
        """Of all processes, which call it together. Raises StageError where vLLM does not draw from the policy."""
        assert batch.sampler_logprobs is not None
        # NaN is a token that what drew has said nothing of.
        told = batch.drawn_mask.bool() & ~batch.sampler_logprobs.isnan()
        policy, sampler = batch.logprobs[told], batch.sampler_logprobs[told]
        weights = truncated_importance(policy, sampler, torch.ones_like(policy), MOST_IMPORTANCE)
        kl = divergence(policy, sampler, torch.ones_like(policy)) if len(policy) else 0.0
        own = (kl * len(policy), float(weights.sum()), int((weights >= MOST_IMPORTANCE).sum()), len(policy))
        apart, weight, truncated, tokens = (sum(part) for part in zip(*gather_object([own]), strict=True))
        what = "vllm" if self.vllm else "engine"
        self.last = {
            f"{what}/{name}": total / max(1, tokens)
            for name, total in zip(("kl", "importance", "truncated"), (apart, weight, truncated), strict=True)
        }
        if self.vllm:
            require_alike(self.last["vllm/kl"], self.vllm, "the policy")

    def figures(self) -> dict[str, float]:
        """For metrics.jsonl: the KL divergence a token of the policy from what drew, the mean weight of a token, and
        the share of tokens whose weight was cut."""
        return self.last

    def state(self) -> JsonObject:
        return self.last

    def restore(self, state: JsonObject) -> None:
        self.last = state
