"""Rollouts in which something was written that nobody drew: what closes the thinking, what a tool says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eval.engine.types import Sampled
from rewards.lazy import lazy

with lazy:
    import torch

if TYPE_CHECKING:
    from torch import Tensor


def joined(begun: Sampled, forced: Sequence[int], rest: Sampled) -> Sampled:
    """What was begun, then the ids that were written by force, with log-probabilities of 0, then what was drawn from
    there on, of which all that stands before it was the prompt."""
    at = len(begun.ids)
    after = at + len(forced)
    behind = tuple(range(place.start + after, place.stop + after) for place in rest.forced)
    return Sampled(
        [*begun.ids, *forced, *rest.ids], [*begun.logprobs, *[0.0] * len(forced), *rest.logprobs], rest.finished,
        _experts(begun, rest), (*begun.forced, *([range(at, after)] if forced else []), *behind),
    )


def cut(one: Sampled, most: int, prompt: int) -> Sampled:
    """The first `most` tokens of what was drawn after `prompt` tokens, as if it had been bounded by so many."""
    if len(one.ids) <= most:
        return one
    experts = None if one.experts is None else one.experts[: prompt + most - 1]
    return Sampled(one.ids[:most], one.logprobs[:most], False, experts)


def _experts(begun: Sampled, rest: Sampled) -> "Tensor | None":
    """The experts of a whole completion: those of its first part, and from there on those of the rest, whose prompt the
    first part was."""
    if rest.experts is None:
        return None
    if begun.experts is None:
        return None if begun.ids else rest.experts
    return torch.cat([begun.experts, rest.experts[len(begun.experts) :]])
