"""The numbers of a GRPO training, as its trainer wants them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from transformers import TrainingArguments

from eval.engine.types import Sampling
from eval.protocol import Prompting
from pipeline.contract.errors import StageError
from pipeline.contract.processes import undrawn
from pipeline.contract.stage import Context
from pipeline.models.mtp.section import Mtp
from pipeline.rl.objectives.objective import Objective
from pipeline.rl.scoring.rollout_replay import ReplaySource
from pipeline.serving.section import Vllm
from pipeline.serving.speculation import Speculate
from pipeline.training import on_processors
from pipeline.training.learning import Learning

if TYPE_CHECKING:
    import torch

    from pipeline.serving.served import Served


@dataclass(frozen=True)
class GrpoPlan:
    """A round draws `group_size` rollouts of each of `prompts` problems, over all processes together, and makes
    `updates` optimizer steps on them.

    sampling       how tokens are drawn
    objective      what is minimized
    learning       optimizer, schedule, precision, and how much is held at once
    seed_parts     what the draws of every rollout depend on besides its problem, visit and place in the group
    prompting      how prompts are put, and where answers end
    replay         whose experts training takes, None for the router's own
    rollout_dtype  precision of rollouts, None for the policy's
    vllm           draw with vLLM; None for the native engine
    served         the server that draws, where vLLM is one
    staleness      rounds that rollouts are drawn ahead, 0 or 1
    speculate      what drafts for the native engine
    mtp            how a module for multi-token prediction is trained beside the policy; None where none is
    capped         whether training leaves out choices of experts that are full, which what draws does not
    """

    prompts: int
    group_size: int
    updates: int
    sampling: Sampling
    objective: Objective
    seed_parts: tuple[str | int, ...]
    learning: Learning = field(default_factory=Learning)
    prompting: Prompting = field(default_factory=Prompting)
    replay: ReplaySource | None = None
    rollout_dtype: "torch.dtype | None" = None
    vllm: Vllm | None = None
    served: "Served | None" = None
    staleness: int = 0
    speculate: Speculate = "off"
    mtp: Mtp | None = None
    capped: bool = False

    @property
    def rollouts(self) -> int:
        """Of a round, over all processes."""
        return self.prompts * self.group_size

    def check(self, processes: int, dynamic: bool) -> None:
        """Raises StageError where so many processes cannot do this, with or without dynamic sampling."""
        inside = self.vllm is not None and not self.served
        if dynamic and (fault := undrawn(self.rollouts, self.group_size, processes, inside=inside)):
            raise StageError(fault)


def arguments_of(ctx: Context, learning: Learning, updates: int) -> TrainingArguments:
    """transformers' arguments of a stage that makes so many optimizer steps on rollouts."""
    return TrainingArguments(
        output_dir=str(ctx.checkpoints.folder),
        max_steps=updates,
        per_device_train_batch_size=1,  # the trainer's rows are optimizer steps, not rollouts
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        max_grad_norm=learning.max_grad_norm,
        seed=ctx.seed,
        data_seed=ctx.seed,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **on_processors.arguments(learning.mixed_precision),
    )
