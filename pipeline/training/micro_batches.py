"""Splitting the rows of an optimizer step so that activations of each part fit in memory; gradients are added up."""

from collections.abc import Sequence

import torch
from accelerate.utils import gather_object
from transformers import PretrainedConfig

from pipeline.training.chunks import chunks

BYTES = 2**32
"""What the activations of a part may take on a CPU; on a GPU a quarter of its memory."""


def split(lengths: Sequence[int], most: int, order: Sequence[int] | None = None) -> list[list[int]]:
    """Places of `lengths` in parts of at most `most` tokens, or of one row; all of them in one part where they fit.

    Rows are taken in `order`, and by their lengths where none is given. Depends on the numbers alone.
    """
    if sum(lengths) <= most:
        return [list(range(len(lengths)))]
    parts: list[list[int]] = []
    room = 0
    for place in order or sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if not parts or lengths[place] > room:
            parts.append([])
            room = most
        parts[-1].append(place)
        room -= lengths[place]
    return parts


def by_length(parts: Sequence[list[int]], lengths: Sequence[int]) -> list[list[int]]:
    """The parts, each cut into rows of similar length, so that little of it is padding."""
    return [
        [part[place] for place in chunk] for part in parts for chunk in chunks([lengths[row] for row in part])
    ]


def as_many(parts: Sequence[list[int]]) -> list[list[int]]:
    """The parts, and empty ones after them until every process has as many, where forwards or gradients are collective.
    All processes call it together."""
    most = max(gather_object([len(parts)]))
    return [*parts, *([] for _ in range(most - len(parts)))]


def most_tokens(config: PretrainedConfig, checkpointing: bool, device: torch.device) -> int:
    """How many tokens' activations fit on a device."""
    memory = BYTES if device.type == "cpu" else torch.cuda.get_device_properties(device).total_memory // 4
    return tokens_within(memory, config, checkpointing)


def tokens_within(memory: int, config: PretrainedConfig, checkpointing: bool) -> int:
    """How many tokens' activations fit in so many bytes, by a rule of thumb: what the layers of a transformer keep for
    the backward, in fp32. Logits are not counted: they are held for few tokens at once (`logprobs.py`)."""
    text = config.get_text_config().to_dict()
    # By the attribute, which families map to what they call it.
    hidden, layers = config.get_text_config().hidden_size, _number(text, _LAYERS, 1)
    # Of a Mixture of Experts each token has the activations of the experts that it took.
    experts = _number(text, ("num_experts_per_tok", "moe_top_k"), 1)
    width = max(_number(text, _WIDTHS, 4 * hidden), experts * _number(text, ("moe_intermediate_size",), 0))
    kept = hidden if checkpointing else 10 * hidden + 4 * width
    return max(1, int(memory // (4 * layers * kept)))


_LAYERS = ("num_hidden_layers", "n_layers", "n_layer")
_WIDTHS = ("intermediate_size", "ffn_hidden_size", "n_inner")


def _number(fields: dict[str, object], names: Sequence[str], default: int) -> int:
    """The first of the fields that holds a whole number: families call them differently."""
    found = [value for name in names if isinstance(value := fields.get(name), int)]
    return found[0] if found else default
