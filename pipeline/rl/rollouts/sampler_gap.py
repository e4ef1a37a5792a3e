"""How far the program that draws is from the policy: logged each round, and past a bound the training stops."""

import torch
from accelerate.utils import gather_object

from pipeline.disk.durable import JsonObject
from pipeline.moe.replay import divergence
from pipeline.rl.batch import Batch
from pipeline.rl.objective import MOST_IMPORTANCE
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
        mask = batch.completion_mask.bool()
        ratio = torch.exp(torch.nan_to_num(batch.logprobs - batch.sampler_logprobs))[mask]
        own = {
            "vllm/kl": divergence(batch.logprobs, batch.sampler_logprobs, batch.completion_mask),
            "vllm/importance": float(ratio.clamp(max=MOST_IMPORTANCE).mean()),
            "vllm/truncated": float((ratio > MOST_IMPORTANCE).float().mean()),
        }
        everyones = gather_object([own])
        self.last = {name: sum(one[name] for one in everyones) / len(everyones) for name in own}
        require_alike(self.last["vllm/kl"], self.vllm, "the policy")

    def figures(self) -> dict[str, float]:
        """For metrics.jsonl: the KL divergence a token of the policy from what drew, the mean weight of a token, and
        the share of tokens whose weight was cut."""
        return self.last

    def state(self) -> JsonObject:
        return self.last

    def restore(self, state: JsonObject) -> None:
        self.last = state
