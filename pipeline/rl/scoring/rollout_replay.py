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
from pipeline.rl.scoring.scoring import Scoring, logprobs_of

MEASURED = 32  # one row in so many is run twice more, with and without replay, to tell what replay is worth

ReplaySource = Literal["rollout", "policy"]


class RolloutReplay:
    """Adds the experts that rollouts took to a trainer's batches, and lets the training's forwards take them again.

    `source` "rollout" is R3 of arXiv 2510.11370, the experts that the engine recorded; "policy" is R2, those of a
    forward of the policy in the training's precision before its first update, whose log-probabilities are then the old
    policy's, too.
    """

    def __init__(self, policy: LanguageModel, source: ReplaySource, temperature: float, scoring: Scoring) -> None:
        self.policy, self.source, self.temperature, self.replay = policy, source, temperature, Replay(policy)
        self.scoring = scoring
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
        chosen: list[Tensor] = []  # a layer each, [part * (prompt + seq), top_k]
        handles = [
            handle for router in self.replay.routers for handle in router.watch(lambda seen: chosen.append(seen.chosen))
        ]
        (rows, prompt), seq = batch.prompt_ids.shape, batch.completion_ids.shape[1]
        logprobs, experts = torch.zeros(rows, seq, device=batch.prompt_ids.device), torch.empty(0)
        for places, part in self.scoring.parts(batch):
            chosen.clear()
            scores = self._score(part)
            taken = torch.stack(chosen, dim=1).to(torch.int16).view(*part.mask.shape, len(chosen), -1)
            taken[part.mask == 0] = OWN
            if not len(experts):
                experts = taken.new_full((rows, prompt + seq, *taken.shape[2:]), OWN)
            if len(places):
                begins = prompt - part.prompt_ids.shape[1]
                experts[places, begins : begins + part.mask.shape[1]] = taken
                logprobs[places, : scores.shape[1]] = scores.to(logprobs.dtype)
        for handle in handles:
            handle.remove()
        return experts[:, :prompt], experts[:, prompt:], logprobs

    @torch.no_grad()
    def _measure(self, batch: Batch, sampled: Sequence[Sampled]) -> None:
        rows = torch.arange(0, len(batch), MEASURED)
        part = batch.trimmed(rows)
        mask = part.drawn_mask
        drawn = torch.zeros(mask.shape, device=mask.device)
        for place, row in enumerate(rows.tolist()):
            drawn[place, : len(sampled[row].logprobs)] = torch.tensor(sampled[row].logprobs)
        without = divergence(self._logprobs(part), drawn, mask)
        kl = divergence(self.scoring.logprobs(part, self._replayed), drawn, mask)
        self.gap = {"replay/kl": kl, "replay/kl_removed": without - kl}

    def _logprobs(self, batch: Batch) -> Tensor:
        """Log-probabilities of the completions' tokens under the policy, [rows, seq]."""
        return self.scoring.logprobs(batch, self._score)

    def _replayed(self, part: Batch) -> Tensor:
        with self.of(part):
            return self._score(part)

    def _score(self, part: Batch) -> Tensor:
        return logprobs_of(self.policy, part, self.temperature)
