"""Dropout, which reinforcement does without."""

import contextlib
from collections.abc import Iterator

from torch import nn

from eval.language_model import LanguageModel

_NUMBERS = (
    "attention_dropout", "attn_dropout", "dropout", "activation_dropout", "hidden_dropout", "dropout_p", "layerdrop",
    "router_jitter_noise", "jitter_noise",
)
"""What layers of transformers' families call the shares that they drop, and the noise of their routers, where these are
numbers and no layers."""


@contextlib.contextmanager
def without_dropout(model: LanguageModel) -> Iterator[None]:
    """While this lasts the model computes in training mode what it does in evaluation.

    Rollouts are drawn without dropout. A policy that is trained with it has other log-probabilities before anything is
    learned: with a tenth of attention dropped, three quarters of a tiny model's ratios lie out of bounds at once.
    """
    found: list[tuple[nn.Module, str, float]] = []
    for module in model.modules():
        names = ("p",) if isinstance(module, nn.Dropout) else _NUMBERS
        for name in names:
            value = vars(module).get(name)
            if isinstance(value, float) and value:
                found.append((module, name, value))
                setattr(module, name, 0.0)
    yield
    for module, name, value in found:
        setattr(module, name, value)
