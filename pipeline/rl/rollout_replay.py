"""Routing replay inside GRPO: from what rollouts recorded to the batches that are trained, and what it is worth."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from eval.engine.types import Sampled
from pipeline.moe.replay import OWN, Replay, divergence, padded
from pipeline.training.chunks import trim
from pipeline.training.logprobs import completion_logprobs

MEASURED = 32  # one row in so many is run twice more, with and without replay, to tell what it is worth


class RolloutReplay:
    """Adds the experts that rollouts took to a trainer's batches, and lets the training's forwards take them again.

    `source` "rollout" is R3 of arXiv 2510.11370, the experts that the engine recorded; "policy" is R2, those of a forward of the
    policy in the training's precision before its first update, whose log-probabilities are then the old policy's, too.
    """

    def __init__(self, trainer: Any, policy: Any, source: Literal["rollout", "policy"]) -> None:
        self.trainer, self.source, self.replay = trainer, source, Replay(policy)
        self.gap: dict[str, float] = {}

    def record(self, batch: dict[str, Any], sampled: Sequence[Sampled]) -> dict[str, Any]:
        """The batch with `prompt_experts` and `completion_experts`, both [rows, tokens, layers, top_k]."""
        old = batch.get("old_per_token_logps")
        if self.source == "rollout":
            recorded = [one.experts for one in sampled if one.experts is not None]
            prompts = batch["prompt_mask"].sum(dim=1).tolist()
            sizes = batch["prompt_ids"].shape[1], batch["completion_ids"].shape[1]
            before, after = padded(recorded, prompts, *sizes)
        else:
            before, after, logprobs = self._policy_forward(batch)
            old = logprobs if old is not None else None
        device = batch["prompt_ids"].device
        batch = {**batch, "prompt_experts": before.to(device), "completion_experts": after.to(device)}
        if old is not None:
            batch["old_per_token_logps"] = old
        self._measure(batch, sampled)
        return batch

    def of(self, batch: Mapping[str, Any], *parts: str) -> contextlib.AbstractContextManager[None]:
        """The training's forwards of this batch take its experts; `parts` are of "prompt" and "completion" what they read, or both."""
        return self.replay.of(torch.cat([batch[f"{part}_experts"] for part in parts or ("prompt", "completion")], dim=1))

    def figures(self) -> dict[str, float]:
        """For metrics.jsonl: the share of tokens whose experts would have been others, the KL divergence a token of the policy from
        what sampled, at the sampling's weights, and how much of it replay takes away."""
        return {"replay/tokens_differing": self.replay.differing(), **self.gap}

    def state(self) -> dict[str, Any]:
        return {"gap": self.gap, "tokens": self.replay.tokens, "others": self.replay.others}

    def restore(self, state: dict[str, Any]) -> None:
        self.gap, self.replay.tokens, self.replay.others = state["gap"], state["tokens"], state["others"]

    @torch.no_grad()
    def _policy_forward(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        chosen: list[Tensor] = []
        handles = [handle for router in self.replay.routers for handle in router.watch(lambda seen: chosen.append(seen.chosen))]
        logprobs = self._logprobs(batch)
        for handle in handles:
            handle.remove()
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        experts = torch.stack(chosen, dim=1).to(torch.int16).view(*mask.shape, len(chosen), -1)
        experts[mask == 0] = OWN
        prompt = batch["prompt_ids"].shape[1]
        return experts[:, :prompt], experts[:, prompt:], logprobs

    @torch.no_grad()
    def _measure(self, batch: Mapping[str, Any], sampled: Sequence[Sampled]) -> None:
        rows = torch.arange(0, len(batch["prompt_ids"]), MEASURED)
        part = trim(batch, rows)
        mask = part["completion_mask"]
        drawn = torch.zeros(mask.shape, device=mask.device)
        for place, row in enumerate(rows.tolist()):
            drawn[place, : len(sampled[row].logprobs)] = torch.tensor(sampled[row].logprobs)
        without = divergence(self._logprobs(part), drawn, mask)
        with self.of(part):
            kl = divergence(self._logprobs(part), drawn, mask)
        self.gap = {"replay/kl": kl, "replay/kl_removed": without - kl}

    def _logprobs(self, batch: Mapping[str, Any]) -> Tensor:
        """Log-probabilities of the completions' tokens under the policy, [rows, tokens]."""
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        return completion_logprobs(self.trainer, self.trainer.model, ids, mask, batch["completion_ids"].shape[1])[0]
