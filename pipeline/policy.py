"""GRPO through trl's GRPOTrainer, with our rollout engine in it and no padding carried through the loss."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from trl import GRPOTrainer

from eval.engine import engine_for
from eval.engine.types import Request, Sampled, Sampling, rollout_seed
from eval.prompts import decode_completion, encode_text
from pipeline.chunks import chunks, trim
from pipeline.moe.balance import Balance
from pipeline.moe.routers import routers
from pipeline.resumable import Resumable
from pipeline.rollout_model import RolloutModel
from pipeline.rollout_replay import RolloutReplay
from rewards.grade import grade_many
from rewards.rubric import Rubric
from rewards.types import Completion, Problem

ADDITIVE_LOSSES = ("dapo", "cispo", "vespo")  # sums over tokens with a divisor of the whole batch: they may be split
# Rewards are multiples of this: the mean of a group of equal ones is then exact, and no advantage is made of rounding errors.
EXACT = 2.0**-16


class PolicyTrainer(Resumable, GRPOTrainer):
    """GRPOTrainer that samples with our engine, leaves out of the loss what cannot move it, and can be resumed anywhere.

    - Rollouts come from `eval.engine`, whose log-probabilities of the drawn tokens equal the full forward's, so the old
      policy's are not computed a second time.
    - With beta 0 and no auxiliary terms, rows whose advantage is zero have no gradient and are not run.
    - Rows are sorted by length and run in chunks without the columns that are padding for a whole chunk.
    - The auxiliary losses are those of `balance`; trl's own, which some families' configs switch on, is off.
    - With `replay` "rollout", training takes the experts that the rollout took; with "policy", those that the policy took in a
      forward before the first update (R3 and R2 of arXiv 2510.11370).
    - With a `rollout_dtype`, rollouts come from a copy of the model in that precision.

    A row of the dataset is one visit of a problem: its `prompt`, the `problem`'s id, and the `visit`, counted from 0. The rows are
    used once and in their order. A rollout's draws come from (`seed_parts`, problem, visit, place in the group) alone.
    """

    def __init__(
        self,
        *args: Any,
        seed_parts: tuple[str | int, ...],
        open_thinking: bool,
        balance: Balance,
        replay: Literal["rollout", "policy"] | None = None,
        rollout_dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.seed_parts, self.open_thinking, self.balance = seed_parts, open_thinking, balance
        policy = self.accelerator.unwrap_model(self.model)
        self.replay = RolloutReplay(self, policy, replay) if replay and routers(policy) else None
        self.rollouts = RolloutModel(policy, rollout_dtype)
        recorded = [router.users for router in routers(self.rollouts.model)] if self.replay and replay == "rollout" else []
        self.engine = engine_for(self.rollouts.model, self.processing_class, experts=recorded)
        self.sampled: list[Sampled] = []
        self.seeds: list[int] = []

    def own_state(self) -> dict[str, Any]:
        """The generation buffer and the place in it, and a reference model that moves: trl saves none of them."""
        reference = self.ref_model.state_dict() if self.args.sync_ref_model and self.ref_model is not None else None
        replay = self.replay.state() if self.replay else None
        return {"step": self._step, "buffer": self._buffered_inputs, "reference": reference, "replay": replay}

    def restore_own(self, state: dict[str, Any]) -> None:
        self._step, self._buffered_inputs = state["step"], state["buffer"]
        if self.replay:
            self.replay.restore(state["replay"])
        if state["reference"] is not None:
            self.ref_model.load_state_dict(state["reference"])

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        first = self.accelerator.process_index * len(inputs)
        self.seeds = [
            rollout_seed(*self.seed_parts, row["problem"], row["visit"], (first + place) % self.num_generations)
            for place, row in enumerate(inputs)
        ]
        batch = super()._generate_and_score_completions(inputs)
        return batch if self.replay is None else self.replay.record(batch, self.sampled)

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> tuple[list[list[int]], None]:
        """One completion a row. Rows of one prompt arrive side by side, and become one request."""
        groups: list[tuple[tuple[int, ...], list[int]]] = []
        for ids, seed in zip(map(tuple, prompt_ids), self.seeds, strict=True):
            if groups and groups[-1][0] == ids:
                groups[-1][1].append(seed)
            else:
                groups.append((ids, [seed]))
        requests = [Request(ids, seeds) for ids, seeds in groups]
        self.rollouts.refresh()
        sampled = self.engine.sample(requests, Sampling(self.max_completion_length, self.temperature))
        self.sampled = [one for group in sampled for one in group]
        return [one.ids for one in self.sampled], None

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        encode = {text: encode_text(self.processing_class, text, open_thinking=self.open_thinking) for text in set(prompts)}
        return [encode[text] for text in prompts], None, {}

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        """What trl asks for; the old policy's values are those recorded while sampling, and take no forward."""
        # With an adapter and no reference model, trl asks the same model for the reference's values too.
        only_old = self.beta == 0.0 or self.ref_model is not None
        if torch.is_grad_enabled() or model is not self.model or not only_old:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        recorded = torch.zeros(len(input_ids), logits_to_keep, device=input_ids.device)
        for place, one in enumerate(self.sampled):
            recorded[place, : len(one.logprobs)] = torch.tensor(one.logprobs)
        return recorded, None, None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """trl's loss of a batch, with the auxiliary losses of the tokens that were run."""
        loss: Tensor = self._policy_loss(model, inputs)
        steps: int = self.current_gradient_accumulation_steps
        return loss + self.balance.loss() / steps

    def _policy_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """trl's loss, summed over chunks of rows of similar length; rows that cannot move it are left out."""
        if self.loss_type not in ADDITIVE_LOSSES or self._entropy_bonus_enabled:
            return self._part_of_loss(model, inputs)
        lengths = inputs["completion_mask"].sum(dim=1)
        rows = torch.arange(len(lengths), device=lengths.device)
        if self.beta == 0.0:
            moving = (inputs["advantages"] != 0).nonzero().flatten()
            rows = moving if len(moving) else rows[:1]
        read = lengths + inputs["prompt_mask"].sum(dim=1)
        total = torch.zeros((), device=lengths.device)
        for places in chunks(read[rows].tolist()):
            total = total + self._part_of_loss(model, trim(inputs, rows[places]))
        return total

    def _part_of_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        with self.replay.of(inputs) if self.replay else contextlib.nullcontext():
            loss: Tensor = super()._compute_loss(model, inputs)
        return loss


class RewardFunction:
    """The one reward callable that trl gets: grades a batch, and returns the rubric's total, or None for the ungradable.

    It also counts verdicts, and keeps the parts of the reward for the log.
    """

    __name__ = "reward"

    def __init__(self, problems: Mapping[str, Problem], rubric: Rubric, tokenizer: Any, prefix: str) -> None:
        self.problems, self.rubric, self.tokenizer, self.prefix = problems, rubric, tokenizer, prefix
        self.parts: dict[str, float] = {}
        self.verdicts: dict[str, float] = {}

    def state(self) -> dict[str, Any]:
        return {"parts": self.parts, "verdicts": self.verdicts}

    def restore(self, state: dict[str, Any]) -> None:
        self.parts, self.verdicts = state["parts"], state["verdicts"]

    def __call__(self, completion_ids: Sequence[list[int]], problem: Sequence[str], **_: Any) -> list[float | None]:
        eos = self.tokenizer.eos_token_id
        pairs = [
            (
                self.problems[name],
                Completion(self.prefix + decode_completion(self.tokenizer, ids), ids[-1] == eos, len(ids)),
            )
            for name, ids in zip(problem, completion_ids, strict=True)
        ]
        verdicts = grade_many(pairs)
        rewards = [self.rubric.score(*pair, verdict) for pair, verdict in zip(pairs, verdicts, strict=True)]
        sums: dict[str, float] = defaultdict(float)
        for reward in rewards:
            for name, value in reward.parts.items():
                sums[name] += value
        graded = max(1, sum(reward.total is not None for reward in rewards))
        self.parts = {name: value / graded for name, value in sums.items()}
        counts = Counter(str(verdict.label) for verdict in verdicts)
        self.verdicts = {name: count / len(verdicts) for name, count in counts.items()}
        return [None if reward.total is None else round(reward.total / EXACT) * EXACT for reward in rewards]
