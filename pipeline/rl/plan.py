"""The numbers of a GRPO training, as its trainer wants them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval.engine.types import Sampling
from pipeline.rl.advantages import Scale
from pipeline.rl.objective import Objective
from pipeline.rl.rollout_replay import ReplaySource
from pipeline.rl.rollouts.vllm import Vllm

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GrpoPlan:
    """A round draws `group_size` rollouts of each of `prompts` problems, over all processes together, and makes
    `updates` optimizer steps on them.

    sampling       how tokens are drawn
    objective      what is minimized
    scale          whose standard deviation divides advantages
    seed_parts     what the draws of every rollout depend on besides its problem, visit and place in the group
    open_thinking  whether prompts end with the tag that opens thinking
    replay         whose experts training takes, None for the router's own
    rollout_dtype  precision of rollouts, None for the policy's
    vllm           draw with vLLM; None for the native engine
    """

    prompts: int
    group_size: int
    updates: int
    sampling: Sampling
    objective: Objective
    seed_parts: tuple[str | int, ...]
    scale: Scale = "group"
    open_thinking: bool = False
    replay: ReplaySource | None = None
    rollout_dtype: "torch.dtype | None" = None
    vllm: Vllm | None = None

    @property
    def rollouts(self) -> int:
        """Of a round, over all processes."""
        return self.prompts * self.group_size
