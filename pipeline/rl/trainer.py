"""GRPO through trl's GRPOTrainer, with our rollout engine in it and no padding carried through the loss."""

import contextlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from trl import GRPOTrainer

from eval.engine import engine_for
from eval.engine.types import Engine, Request, Sampled, Sampling, rollout_seed
from eval.prompts import encode_text
from pipeline.contract.errors import StageError
from pipeline.moe.balance import Balance
from pipeline.moe.routers import routers
from pipeline.rl.dynamic_sampling import DynamicSampling
from pipeline.rl.reward_function import RewardFunction
from pipeline.rl.rollout_model import RolloutModel
from pipeline.rl.rollout_replay import RolloutReplay
from pipeline.rl.shared_prompts import SharedPrompts
from pipeline.rl.vllm_engine import VllmEngine
from pipeline.training.chunks import chunks, trim
from pipeline.training.logprobs import completion_logprobs
from pipeline.training.master_weights import with_masters
from pipeline.training.resumable import Resumable

ADDITIVE_LOSSES = ("dapo", "cispo", "vespo")  # sums over tokens with a divisor of the whole batch: they may be split


class PolicyTrainer(Resumable, GRPOTrainer):
    """GRPOTrainer that samples with our engine, leaves out of the loss what cannot move it, and can be resumed anywhere.

    - Rollouts come from `eval.engine`, whose log-probabilities of the drawn tokens equal the full forward's, so the old
      policy's are not computed a second time. A `RewardFunction` grades each while others are written.
    - With `dynamic`, groups without signal give way to others before trl sees them; it needs a `RewardFunction`.
    - With beta 0 and no auxiliary terms, rows whose advantage is zero have no gradient and are not run.
    - Rows are sorted by length and run in chunks without the columns that are padding for a whole chunk; on CPUs a prompt is
      read once for the rows that answer it (`shared_prompts`).
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
        dynamic: DynamicSampling | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        (reward,) = self.reward_funcs
        self.reward = reward if isinstance(reward, RewardFunction) else None
        self.seed_parts, self.open_thinking, self.balance = seed_parts, open_thinking, balance
        policy = self.accelerator.unwrap_model(self.model)
        self.replay = RolloutReplay(self, policy, replay) if replay and routers(policy) else None
        self.rollouts = RolloutModel(policy, rollout_dtype)
        recorded = [router.users for router in routers(self.rollouts.model)] if self.replay and replay == "rollout" else []
        self.engine: Engine = (
            VllmEngine(self) if self.use_vllm else engine_for(self.rollouts.model, self.processing_class, experts=recorded)
        )
        self.dynamic = dynamic
        if dynamic:
            self._check_dynamic()
        self.sampled: list[Sampled] = []
        self.prompts: SharedPrompts | None = None  # of the batch whose loss is being computed

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """trl's, with fp32 copies of weights that are in half precision."""
        self.optimizer = with_masters(super().create_optimizer(*args, **kwargs))
        return self.optimizer

    def _check_dynamic(self) -> None:
        if self.args.per_device_train_batch_size * self.args.steps_per_generation % self.num_generations:
            raise StageError("dynamic sampling needs whole groups in every process: prompts_per_step is no multiple of their number")
        if self.use_vllm and self.accelerator.num_processes > 1:
            # trl's generate is a collective of all processes, which need not have as many groups without signal
            raise StageError("dynamic sampling with engine vllm is for one process")

    def own_state(self) -> dict[str, Any]:
        """The generation buffer and the place in it, and a reference model that moves: trl saves none of them."""
        reference = self.ref_model.state_dict() if self.args.sync_ref_model and self.ref_model is not None else None
        replay = self.replay.state() if self.replay else None
        dynamic = self.dynamic.state() if self.dynamic else None
        return {"step": self._step, "buffer": self._buffered_inputs, "reference": reference, "replay": replay, "dynamic": dynamic}

    def restore_own(self, state: dict[str, Any]) -> None:
        self._step, self._buffered_inputs = state["step"], state["buffer"]
        if self.replay:
            self.replay.restore(state["replay"])
        if self.dynamic:
            self.dynamic.restore(state["dynamic"])
        if state["reference"] is not None:
            self.ref_model.load_state_dict(state["reference"])

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        self.rollouts.refresh()
        if self.dynamic:
            inputs, self.sampled = self.dynamic.fill(inputs, self._draw, self._rewards)
        else:
            self.sampled = self._draw(inputs)
        batch = super()._generate_and_score_completions(inputs)
        return batch if self.replay is None else self.replay.record(batch, self.sampled)

    def _draw(self, rows: Sequence[dict[str, Any]]) -> list[Sampled]:
        """A rollout of every row. Rows of one prompt stand side by side, and become one request."""
        first = self.accelerator.process_index * len(rows)
        prompts, _, _ = self._tokenize_prompts([row["prompt"] for row in rows])
        requests: list[Request] = []
        begins: list[int] = []  # the first row of each request
        seeds: list[int] = []
        for place, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
            if not requests or requests[-1].prompt != prompt:
                seeds = []
                requests.append(Request(prompt, seeds))
                begins.append(place)
            seeds.append(rollout_seed(*self.seed_parts, row["problem"], row["visit"], (first + place) % self.num_generations))

        def written(request: int, index: int, one: Sampled) -> None:
            if self.reward:
                self.reward.begin(rows[begins[request] + index]["problem"], one.ids)

        sampling = Sampling(self.max_completion_length, self.temperature)
        return [one for group in self.engine.sample(requests, sampling, written=written) for one in group]

    def _rewards(self, rows: Sequence[dict[str, Any]], sampled: Sequence[Sampled]) -> list[float | None]:
        assert self.reward
        return self.reward.totals([row["problem"] for row in rows], [one.ids for one in sampled])

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> tuple[list[list[int]], list[list[float]] | None]:
        """What was drawn; trl corrects by log-probabilities where those of the rollouts are not the policy's (vLLM)."""
        return [one.ids for one in self.sampled], [one.logprobs for one in self.sampled] if self.use_vllm else None

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        encode = {text: encode_text(self.processing_class, text, open_thinking=self.open_thinking) for text in set(prompts)}
        return [encode[text] for text in prompts], None, {}

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        """What trl asks for; the old policy's values are those recorded while sampling, and take no forward, but for vLLM's."""
        # With an adapter and no reference model, trl asks the same model for the reference's values too.
        only_old = self.beta == 0.0 or self.ref_model is not None
        old = not torch.is_grad_enabled() and model is self.model and only_old and not self.use_vllm
        if old:
            recorded = torch.zeros(len(input_ids), logits_to_keep, device=input_ids.device)
            for place, one in enumerate(self.sampled):
                recorded[place, : len(one.logprobs)] = torch.tensor(one.logprobs)
            return recorded, None, None
        if self.prompts:
            count = logits_to_keep
            return *self.prompts.completion_logprobs(input_ids[:, -count:], attention_mask[:, -count:], self.temperature), None
        if self._entropy_bonus_enabled or self.aux_loss_enabled:
            return super()._get_per_token_logps_and_entropies(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        return *completion_logprobs(self, model, input_ids, attention_mask, logits_to_keep), None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """trl's loss of a batch, with the auxiliary losses of the tokens that were run."""
        loss: Tensor = self._policy_loss(model, inputs)
        steps: int = self.current_gradient_accumulation_steps
        return loss + self.balance.loss() / steps

    def _policy_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """trl's loss, summed over chunks of rows of similar length; rows that cannot move it are left out."""
        if self.loss_type not in ADDITIVE_LOSSES or self._entropy_bonus_enabled or self.sharded:
            return self._part_of_loss(model, inputs, torch.arange(len(inputs["completion_ids"])))
        if self.beta == 0.0:
            moving = (inputs["advantages"] != 0).nonzero().flatten()
            inputs = trim(inputs, moving if len(moving) else torch.zeros(1, dtype=torch.long))
        lengths = inputs["completion_mask"].sum(dim=1)
        if SharedPrompts.fit(self, model, inputs, self.balance):
            self.prompts = SharedPrompts(model, inputs, self.balance, self.replay)
        else:
            lengths = lengths + inputs["prompt_mask"].sum(dim=1)
        total = torch.zeros((), device=lengths.device)
        for places in chunks(lengths.tolist()):
            total = total + self._part_of_loss(model, inputs, torch.tensor(places))
        self.prompts = None
        return total

    def _part_of_loss(self, model: Any, inputs: dict[str, Any], rows: Tensor) -> Tensor:
        part = trim(inputs, rows)
        with self._reading(rows, part):
            loss: Tensor = super()._compute_loss(model, part)
        return loss

    def _reading(self, rows: Tensor, part: dict[str, Any]) -> contextlib.AbstractContextManager[None]:
        """What forwards of these rows of a batch need besides their tokens."""
        if self.prompts:
            return self.prompts.answered(rows, part)
        return self.replay.of(part) if self.replay else contextlib.nullcontext()
