"""Tokens a second of rollouts beside `model.generate`, and seconds of steps with the share of the device's arithmetic
that they reach."""

import gc
from collections.abc import Iterator
from typing import Any

import torch
from sizes import Sizes

from pipeline.bench import rollouts, train
from pipeline.costs.shape import shape_of

Found = Iterator[tuple[str, dict[str, Any]]]
"""Each measurement by its name, as soon as it is made."""


def drawn(sizes: Sizes) -> Found:
    for name, architecture in sizes.drawn.items():
        for count in sizes.rollouts:
            case = rollouts.Case(architecture, count, dtype=sizes.dtype, device=sizes.device, mean=sizes.mean,
                                 most=sizes.most)
            yield f"{name}_{count}", vars(rollouts.measure(case, rounds=1))
            _free()


def trained(sizes: Sizes) -> Found:
    """A step of SFT, and a generation of GRPO with its two updates. `mfu`: six operations a parameter that a token is
    multiplied by, attention left out, over the fastest multiplication of this device; of GRPO the drawing's time is in
    it and its operations are not."""
    fastest = rollouts.peak(sizes.dtype, device=sizes.device, size=2048 if sizes.device == "cpu" else 8192)
    for name, architecture in sizes.trained.items():
        active = shape_of(architecture).active
        case = rollouts.Case(architecture, sizes.rollouts[0], dtype=sizes.dtype, device=sizes.device, mean=sizes.mean,
                             most=sizes.most)
        for kind in ("sft", "grpo"):
            _free()
            seconds, tokens = _sft(case, sizes.rows) if kind == "sft" else _grpo(case)
            yield f"{name}_{kind}", {
                "seconds": seconds, "tokens": tokens, "tokens_per_s": tokens / seconds,
                "mfu": 6 * active * tokens / seconds / fastest, "peak_gib": _peak(sizes.device),
            }
            _free()


def _sft(case: rollouts.Case, batch: int) -> tuple[float, float]:
    train.sft_seconds(case, batch, 1, 0, True)  # kernels are chosen and memory is taken
    steps = 3
    tokens = sum(rollouts.lengths(batch * steps, seed=1, mean=case.mean, most=case.most)) / steps
    return train.sft_seconds(case, batch, steps, 1, True), tokens


def _grpo(case: rollouts.Case) -> tuple[float, float]:
    train.grpo_seconds(case, 0, True)
    asked = rollouts.requests(case.rollouts, case.architecture["vocab_size"], seed=1)
    prompts = sum(len(request.prompt) * len(request.seeds) for request in asked)
    return train.grpo_seconds(case, 1, True), prompts + sum(case.ends(seed=1).lengths)


def _peak(device: str) -> float:
    if device == "cpu":
        return 0.0
    return torch.cuda.max_memory_reserved() / 2**30


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
