"""What our trainers change of transformers' Trainer: optimizer and rates are a stage's, and processes may share a model
by FSDP2 or DeepSpeed."""

import contextlib
import math
from collections.abc import Callable

import torch
from accelerate import DistributedType
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer
from transformers.integrations import is_deepspeed_zero3_enabled

from pipeline.contract.errors import StageError
from pipeline.training import on_processors
from pipeline.training.learning import Learning, unshareable, untrainable
from pipeline.training.micro_batches import most_tokens
from pipeline.training.optimizer.choice import Choice, Task, choose, make

Rates = Callable[[int], float]
"""The share of the peak rate at a step."""


class BaseTrainer(Trainer):
    """A mixin: call `learn_by` when the trainer is made, and `backward` for each part of a step.

    choice           of the optimizer
    most_tokens      of a micro-batch
    mixed_precision  whether forwards are computed in bfloat16, whatever weights are in
    """

    choice: Choice
    most_tokens: int
    mixed_precision: bool
    rates: Rates

    def learn_by(self, learning: Learning, task: Task, rates: Rates) -> None:
        """Raises StageError where the model's weights are in a precision in which they are not trained, or not computed
        with."""
        if fault := untrainable(str(self.model.dtype).removeprefix("torch.")):
            raise StageError(fault)
        self.choice, self.rates = choose(self.model, learning, task), rates
        self.mixed_precision = on_processors.computes_in_bfloat16(learning.mixed_precision)
        if self.mixed_precision and self.model.config.model_type == "dbrx" and self.model.dtype == torch.float32:
            # transformers' DBRX adds up what its experts make, in bfloat16, in the precision of the hidden states.
            raise StageError("dbrx models in full precision do not compute in bfloat16: set mixed_precision: false, or "
                             "dtype: bfloat16")
        if self.mixed_precision and self.is_deepspeed_enabled:
            # On GPUs its engine turns an autocast around it off, unless it is told of one (its pull request 7543). No
            # modules are named whose gradients it would add up in bfloat16.
            self.accelerator.state.deepspeed_plugin.deepspeed_config["torch_autocast"] = {
                "enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []
            }
        self.most_tokens = learning.micro_batch_tokens or most_tokens(
            self.model.config, learning.gradient_checkpointing, self.accelerator.device
        )

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """The stage's, in place of one that Trainer would make of its arguments. An optimizer that is made before and
        given to Trainer is refused under FSDP, and dropped under DeepSpeed."""
        self._require_shareable()
        self.optimizer = make(self.model, self.choice)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        rates = self.rates

        def rate(step: int) -> float:  # a plain function: of an object the scheduler would save the fields
            return rates(step)

        self.lr_scheduler = LambdaLR(self.optimizer if optimizer is None else optimizer, rate)
        return self.lr_scheduler

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        on_processors.honour_fsdp(self.accelerator)
        self.is_fsdp_enabled = self.accelerator.distributed_type == DistributedType.FSDP
        if self.is_fsdp_enabled and self.args.bf16:
            # accelerate's policy would have everything in bfloat16: the log-probabilities that a forward gives, too,
            # and the sums of gradients.
            self.accelerator.state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(
                param_dtype=torch.bfloat16, reduce_dtype=torch.float32
            )

    @property
    def collective(self) -> bool:
        """Whether processes have to run forwards and backwards together, as many each, since weights, gradients or the
        optimizer's state are shared out among them."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    @property
    def parted(self) -> bool:
        """Whether the weights themselves lie in parts, in training."""
        return bool(self.is_fsdp_enabled or is_deepspeed_zero3_enabled())

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """The gradients of a part of an optimizer step, of which `last` is the last."""
        if self.is_deepspeed_enabled:  # whose engine makes the optimizer's step in the backward; as Trainer tells it
            self.accelerator.gradient_state._set_sync_gradients(last)
        self.accelerator.backward(loss)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Tensor | float | None = None) -> Tensor | float | None:
        """What Trainer asks for before every step of the optimizer, by a name that a test holds it to. Raises
        StageError for a gradient that is no number, before the step would make the weights so, and a checkpoint of
        them take the place of the last good one. DeepSpeed has made the step by then, and no checkpoint."""
        norm: Tensor | float | None = super()._get_grad_norm(model, grad_norm=grad_norm)
        if isinstance(norm, DTensor):  # of which each process has its part: all of them end together, or none does
            norm = norm.full_tensor()
        if norm is not None and not math.isfinite(norm):
            raise StageError(f"the gradient of step {self.state.global_step + 1} is {float(norm)}: lower learning_rate "
                             "or give a longer warm-up, or look for what of the model or the data is infinite")
        return norm

    def autocast_smart_context_manager(
        self, cache_enabled: bool | None = True
    ) -> contextlib.AbstractContextManager[object]:
        """Precision of a loss and of all forwards in it. Trainer leaves it to accelerate, which has the forward of the
        whole model in bfloat16 and not those of its parts, of which log-probabilities are made where logits are many;
        and DeepSpeed's own bfloat16 would round the weights that are trained, and those that are saved."""
        return on_processors.autocast(self.accelerator.device, self.mixed_precision)

    def _require_shareable(self) -> None:
        """Raises StageError for an optimizer, or a precision, in which a model that is shared cannot be trained."""
        halves = {str(one.dtype).removeprefix("torch.") for one in self.model.parameters()} - {"float32"}
        if fault := unshareable(self.choice.name, next(iter(halves), None), fsdp=bool(self.is_fsdp_enabled),
                                deepspeed=bool(self.is_deepspeed_enabled)):
            raise StageError(fault)
