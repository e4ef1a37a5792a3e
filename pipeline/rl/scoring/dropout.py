"""Dropout, which reinforcement does without."""

import contextlib
from collections.abc import Iterator

from torch import nn
from transformers import PretrainedConfig

from eval.language_model import LanguageModel


@contextlib.contextmanager
def without_dropout(model: LanguageModel) -> Iterator[None]:
    """While this lasts the model computes in training mode what it does in evaluation.

    Rollouts are drawn without dropout. A policy that is trained with it has other log-probabilities before anything is
    learned: with a tenth of attention dropped, three quarters of a tiny model's ratios lie out of bounds at once.
    """
    found = [(place, name, value) for place in _places(model) for name, value in vars(place).items()
             if _drops(place, name) and isinstance(value, float) and value]
    for place, name, _ in found:
        setattr(place, name, 0.0)
    yield
    for place, name, value in found:
        setattr(place, name, value)


def _places(model: LanguageModel) -> list[nn.Module | PretrainedConfig]:
    """The model's modules, and the configs that they have: some (Falcon's) read a share there in every forward."""
    modules = [*model.modules()]
    configs = {id(config): config for module in modules
               if isinstance(config := vars(module).get("config"), PretrainedConfig)}
    return [*modules, *configs.values()]


def _drops(place: nn.Module | PretrainedConfig, name: str) -> bool:
    """Whether a number of this name is a share that is dropped, or noise of routers: families call theirs
    `attention_dropout`, `resid_pdrop`, `layerdrop`, `router_jitter_noise`, and by other names with these parts."""
    return (name == "p" and isinstance(place, nn.Dropout)) or "drop" in name or "jitter" in name
