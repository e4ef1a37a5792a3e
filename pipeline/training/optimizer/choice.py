"""The optimizer of a training: chosen by what a recipe says and by where the model comes from, and made."""

from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from eval.language_model import LanguageModel
from pipeline.disk.durable import JsonObject
from pipeline.models import origin
from pipeline.moe.balance import has_adapters
from pipeline.training import learning
from pipeline.training.learning import Learning, OptimizerName
from pipeline.training.optimizer.master_weights import with_masters
from pipeline.training.optimizer.muon import Muon

Task = Literal["supervised", "reinforcement"]


class Rates(NamedTuple):
    """Peaks: of the optimizer, and what Muon leaves to AdamW."""

    rate: float
    adam_rate: float


FROM_SCRATCH: dict[Task, Rates] = {"supervised": Rates(5e-3, 1e-3), "reinforcement": Rates(3e-4, 3e-4)}
"""For models of the quickstart's size."""

GIVEN: dict[Task, Rates] = {"supervised": Rates(2e-5, 2e-5), "reinforcement": Rates(1e-6, 1e-6)}
"""For models that somebody pretrained: the rates at which such are published to be fine-tuned (open-r1's SFT and GRPO
recipes). Muon's updates are as large as AdamW's here, and so is its rate."""

ADAPTERS = 10.0
"""How much larger a rate adapters take than the weights that they are added to (Schulman et al. 2025, "LoRA without
regret")."""

_TORCH: dict[OptimizerName, type[Optimizer]] = {
    "adamw": torch.optim.AdamW, "adafactor": torch.optim.Adafactor, "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD,
}
_DECOUPLED = ("nadam", "radam")
"""Torch's optimizers that decay weights as AdamW does when they are told to."""


@dataclass(frozen=True)
class Choice:
    """An optimizer with its rates and constants, for one model."""

    name: OptimizerName
    rates: Rates
    constants: learning.Optimizer

    def __str__(self) -> str:
        if self.name == "muon":
            return f"muon at {self.rates.rate:g}, and adamw at {self.rates.adam_rate:g} for what is no matrix"
        return f"{self.name} at {self.rates.rate:g}"


def choose(model: LanguageModel, wanted: Learning, task: Task) -> Choice:
    """What the recipe wants, and where it says nothing what suits the model: AdamW at a rate for fine-tuning for one
    that was given, and Muon for the supervised training of one that was made here. Adapters, which Muon is not for,
    learn by AdamW in either."""
    scratch, adapters = origin.from_scratch(model), has_adapters(model)
    defaults = FROM_SCRATCH[task] if scratch else GIVEN[task]
    muon = (scratch and task == "supervised" and not adapters) or wanted.adam_learning_rate is not None
    name: OptimizerName = wanted.optimizer.name or ("muon" if muon else "adamw")
    more = ADAPTERS if adapters and not scratch else 1.0
    usual = defaults.adam_rate if adapters else defaults.rate
    rate = wanted.learning_rate if wanted.learning_rate is not None else usual * more
    adam = wanted.adam_learning_rate if wanted.adam_learning_rate is not None else defaults.adam_rate * more
    return Choice(name, Rates(rate, adam), wanted.optimizer)


def make(model: LanguageModel, choice: Choice) -> Optimizer:
    """The optimizer of a model's trainable parameters, with fp32 copies of those in half precision."""
    decay = choice.constants.weight_decay
    if choice.name == "muon":
        return with_masters(Muon(model.named_parameters(), *choice.rates, weight_decay=decay))
    matrices, others = _by_shape(model)
    groups: list[JsonObject] = [
        {"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}
    ]
    kind = _TORCH[choice.name]
    filled = [group for group in groups if group["params"]]
    return with_masters(kind(filled, lr=choice.rates.rate, **_constants(choice)))  # type: ignore[call-arg]


def _by_shape(model: LanguageModel) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    # gpt-oss has the biases of all experts in one table, and a state space's rates of decay are no matrix.
    decayed = [one.ndim >= 2 and not name.endswith(("bias", "A_log")) for name, one in trained]
    parameters = [one for _, one in trained]
    return [*compress(parameters, decayed)], [*compress(parameters, map(not_, decayed))]


def _constants(choice: Choice) -> JsonObject:
    given = choice.constants
    named = {"betas": given.betas, "eps": given.epsilon, "momentum": given.momentum}
    found: JsonObject = {name: value for name, value in named.items() if value is not None}
    if choice.name == "adamw":
        found["fused"] = True  # one kernel for all parameters, as transformers' Trainer has it
    if choice.name in _DECOUPLED:
        found["decoupled_weight_decay"] = True
    return found
