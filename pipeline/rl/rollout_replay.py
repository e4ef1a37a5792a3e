"""Routing replay inside GRPO: from what rollouts recorded to the batches that are trained, and what it is worth."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from accelerate.utils import gather_object
from torch import Tensor

from eval.engine.types import Sampled
from eval.language_model import LanguageModel
from pipeline.disk.durable import JsonObject
from pipeline.moe.replay import OWN, Replay, divergence, padded
from pipeline.rl.batch import Batch
from pipeline.training.logprobs import completion_logprobs

MEASURED = 32  # one row in so many is run twice more, with and without replay, to tell what replay is worth

ReplaySource = Literal["rollout", "policy"]


class RolloutReplay:
    """Adds the experts that rollouts took to a trainer's batches, and lets the training's forwards take them again.

    `source` "rollout" is R3 of arXiv 2510.11370, the experts that the engine recorded; "policy" is R2, those of a
    forward of the policy in the training's precision before its first update, whose log-probabilities are then the old
    policy's, too.
    """

    def __init__(self, policy: LanguageModel, source: ReplaySource, temperature: float) -> None:
        self.policy, self.source, self.temperature, self.replay = policy, source, temperature, Replay(policy)
        self.gap: dict[str, float] = {}

    def record(self, batch: Batch, sampled: Sequence[Sampled]) -> Batch:
        """The batch with the experts to replay; for "policy" also with the log-probabilities of that forward."""
        if self.source == "rollout":
            recorded = [one.experts for one in sampled if one.experts is not None]
            prompts = batch.prompt_mask.sum(dim=1).tolist()
            before, after = padded(recorded, prompts, batch.prompt_ids.shape[1], batch.completion_ids.shape[1])
        else:
            before, after, logprobs = self._policy_forward(batch)
            batch = replace(batch, logprobs=logprobs)
        device = batch.prompt_ids.device
        batch = replace(batch, prompt_experts=before.to(device), completion_experts=after.to(device))
        self._measure(batch, sampled)
        return batch

    def of(
        self, batch: Batch, part: Literal["whole", "prompt", "completion"] = "whole"
    ) -> contextlib.AbstractContextManager[None]:
        """The training's forwards of this batch take its experts; `part` says what of its rows they read."""
        recorded = {
            "whole": batch.experts, "prompt": batch.prompt_experts, "completion": batch.completion_experts
        }[part]
        assert recorded is not None, "the batch was not recorded"
        return self.replay.of(recorded)

    def figures(self) -> dict[str, float]:
        """For metrics.jsonl: the share of tokens whose experts would have been others, the KL divergence a token of the
        policy from what sampled, at the sampling's weights, and how much of it replay takes away. Of all processes,
        which call it together; the divergence is the mean over them."""
        everyones = gather_object([(*self.replay.counted(), self.gap)])
        others, tokens, gaps = (list(values) for values in zip(*everyones, strict=True))
        gap = {name: sum(one[name] for one in gaps) / len(gaps) for name in self.gap}
        return {"replay/tokens_differing": sum(others) / max(1, sum(tokens)), **gap}

    def state(self) -> JsonObject:
        return {"gap": self.gap, "tokens": self.replay.tokens, "others": self.replay.others}

    def restore(self, state: JsonObject) -> None:
        self.gap, self.replay.tokens, self.replay.others = state["gap"], state["tokens"], state["others"]

    @torch.no_grad()
    def _policy_forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Experts of prompts [rows, prompt, layers, top_k] and completions [rows, seq, layers, top_k], and
        log-probabilities [rows, seq], of a forward of the policy."""
        chosen: list[Tensor] = []  # a layer each, [rows * (prompt + seq), top_k]
        handles = [
            handle for router in self.replay.routers for handle in router.watch(lambda seen: chosen.append(seen.chosen))
        ]
        logprobs = self._logprobs(batch)
        for handle in handles:
            handle.remove()
        mask = batch.mask
        experts = torch.stack(chosen, dim=1).to(torch.int16).view(*mask.shape, len(chosen), -1)
        experts[mask == 0] = OWN
        prompt = batch.prompt_ids.shape[1]
        return experts[:, :prompt], experts[:, prompt:], logprobs

    @torch.no_grad()
    def _measure(self, batch: Batch, sampled: Sequence[Sampled]) -> None:
        rows = torch.arange(0, len(batch), MEASURED)
        part = batch.trimmed(rows)
        mask = part.completion_mask
        drawn = torch.zeros(mask.shape, device=mask.device)
        for place, row in enumerate(rows.tolist()):
            drawn[place, : len(sampled[row].logprobs)] = torch.tensor(sampled[row].logprobs)
        without = divergence(self._logprobs(part), drawn, mask)
        with self.of(part):
            kl = divergence(self._logprobs(part), drawn, mask)
        self.gap = {"replay/kl": kl, "replay/kl_removed": without - kl}

    def _logprobs(self, batch: Batch) -> Tensor:
        """Log-probabilities of the completions' tokens under the policy, [rows, seq]."""
        return completion_logprobs(
            self.policy, batch.ids, batch.mask, batch.completion_ids.shape[1], self.temperature
        )[0]
