"""Rollouts as they are kept to be looked at: what was asked, what was written, what was made of it, token by token."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor

from eval.language_model import Tokenizer
from pipeline.contract import processes
from pipeline.contract.stage import Context
from pipeline.disk.durable import JsonObject
from pipeline.moe.replay import OWN
from pipeline.moe.routers import Router
from pipeline.rl.batch import Batch, ranges
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.rollouts.reward_function import Graded, RewardFunction
from rewards.extract import split_thinking

MOST_TOKENS = 100_000
"""Of the completions that are kept of one step, over all processes: whole groups, those of the first prompts."""

DIGITS = 3  # of log-probabilities


class Keeping:
    """Hands the rollouts of every `every`-th round to the stage's context.

    `reward` has graded the round, `routers` are those of a policy that is a Mixture of Experts, and groups of
    `group_size` rollouts stand side by side. With `tools` it is told which part of a text they have written.
    """

    def __init__(
        self, ctx: Context, tokenizer: Tokenizer, reward: RewardFunction, routers: Sequence[Router], group_size: int,
        every: int, tools: bool = False
    ) -> None:
        self.ctx, self.tokenizer, self.reward, self.routers = ctx, tokenizer, reward, routers
        self.group_size, self.every, self.tools = group_size, every, tools
        self._texts: dict[int, str] = {}

    def keep(self, step: int, asked: Sequence[Visit], batch: Batch) -> None:
        """A round, counted from 1: `batch` has its rows in the order of `asked`. All processes call it together."""
        if (step - 1) % self.every:
            return
        count = self._fitting(asked, batch)
        own = list(self._rows(step, asked[:count], batch.rows(torch.arange(count)))) if count else []
        rows = gather_object(own) if processes.count() > 1 else own
        # The context of the first process writes.
        self.ctx.keep_rollouts(step, rows)

    def _fitting(self, asked: Sequence[Visit], batch: Batch) -> int:
        """How many rows are kept: of a large round nothing more is made into texts and lists."""
        left = MOST_TOKENS // processes.count()
        for row, length in enumerate(batch.completion_mask.sum(dim=1).tolist()):
            if left <= 0 and asked[row] != asked[row - 1]:
                return row
            left -= length
        return len(asked)

    def _rows(self, step: int, asked: Sequence[Visit], batch: Batch) -> Iterator[JsonObject]:
        prompts = batch.prompt_mask.sum(dim=1).tolist()
        lengths = batch.completion_mask.sum(dim=1).tolist()
        tokens = _Tokens.of(batch, self.routers)
        first = processes.place() * len(self.reward.told)  # a group may be split between processes
        prompt = ""
        for row, (visit, graded) in enumerate(zip(asked, self.reward.told, strict=False)):
            if not row or visit != asked[row - 1]:
                prompt = self.tokenizer.decode(batch.prompt_ids[row, -prompts[row] :].tolist())
            yield {
                "step": step, "problem": visit.problem, "rollout": (first + row) % self.group_size, "prompt": prompt,
                **({"effort": visit.effort} if visit.effort else {}),
                **self._of_problem(visit), **_of_answer(graded), "advantage": round(float(batch.advantages[row]), 4),
                "pieces": [self._text(token) for token in batch.completion_ids[row, : lengths[row]].tolist()],
                **tokens.of_row(row, lengths[row]), **self._observations(visit, batch, row),
            }

    def _observations(self, visit: Visit, batch: Batch, row: int) -> JsonObject:
        if not self.tools or batch.forced is None:
            return {}
        ids = batch.completion_ids[row, : int(batch.completion_mask[row].sum())].tolist()
        opened = visit.asked in self.reward.opened
        found = self.reward.reader.spans(ids, ranges(batch.forced[row].tolist()), opened=opened)
        return {"observations": [list(span) for span in found]} if found else {}

    def _of_problem(self, visit: Visit) -> JsonObject:
        problem = self.reward.problems[visit.asked]
        return {"family": problem.family, "expected": _shown(problem.answer)}

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self.tokenizer.decode([token])
        return self._texts[token]


class _Tokens(NamedTuple):
    """What is told of each token of a round, as lists: log-probabilities [rows][seq], of the policy and, where another
    program drew, of that; the expert that the last MoE layer chose first [rows][seq], and of each MoE layer the load of
    its busiest expert over the mean [rows][layers], where experts were recorded."""

    logprobs: list[list[float]]
    sampler_logprobs: list[list[float]] | None
    experts: list[list[int]] | None
    busiest: list[list[float]] | None

    @classmethod
    def of(cls, batch: Batch, routers: Sequence[Router]) -> "_Tokens":
        chosen = batch.completion_experts
        return cls(
            _rounded(batch.logprobs), None if batch.sampler_logprobs is None else _rounded(batch.sampler_logprobs),
            None if chosen is None else chosen[:, :, -1, 0].tolist(),
            None if chosen is None else busiest(chosen, [router.experts for router in routers]).tolist(),
        )

    def of_row(self, row: int, length: int) -> JsonObject:
        drawn = self.sampler_logprobs and self.sampler_logprobs[row][:length]
        return {
            "logprobs": self.logprobs[row][:length],
            # NaN is a token of which the program has said nothing.
            "sampler_logprobs": drawn and [value if value == value else None for value in drawn],
            # The last token is fed back to no one, and has no expert.
            "experts": self.experts and [None if one == OWN else one for one in self.experts[row][:length]],
            "experts_busiest": self.busiest and self.busiest[row],
        }


def busiest(chosen: Tensor, experts: Sequence[int]) -> Tensor:
    """Load of the busiest expert over the mean, [rows, layers], of the choices [rows, seq, layers, top_k] of each
    rollout; `experts` is their number in each layer. 0 where nothing was recorded."""
    layers = []
    for layer, number in enumerate(experts):
        picked = chosen[:, :, layer].flatten(1).long()  # [rows, seq * top_k]
        counts = torch.zeros(len(picked), number + 1)
        # What was not recorded is counted apart, as one more expert.
        counts.scatter_add_(1, torch.where(picked == OWN, number, picked).cpu(), torch.ones(picked.shape))
        counts = counts[:, :number]
        layers.append(counts.max(dim=1).values / (counts.sum(dim=1) / number).clamp(min=1e-9))
    return torch.stack(layers, dim=1).double().round(decimals=2)


def _rounded(values: Tensor) -> list[list[float]]:
    # In double precision: a float of single precision would be written with all of its digits.
    rounded: list[list[float]] = values.detach().double().round(decimals=DIGITS).tolist()
    return rounded


def _of_answer(graded: Graded) -> JsonObject:
    completion, verdict, reward = graded
    thinking, answer = split_thinking(completion)
    return {
        "text": completion.text, "thinking": thinking, "answer": answer or "", "finished": completion.finished,
        "verdict": str(verdict.label), "reason": verdict.reason, "extracted": verdict.extracted,
        "reward": reward.total, "parts": reward.parts,
    }


def _shown(answer: object) -> str:
    """The answer that the verifier compares with. What is no text, such as a program's tests, is shown as Python writes
    it."""
    return answer if isinstance(answer, str) else repr(answer)[:2000]
