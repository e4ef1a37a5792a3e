"""What a rollout engine is asked and what it answers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn, and where a rollout ends besides the tokens that end it and its `max_tokens`.

    temperature  divides the logits; 0 takes the likeliest token
    top_p        below 1, the likeliest tokens that hold so much probability together (nucleus, Holtzman et al. 2020)
    top_k        above 0, as many of the likeliest tokens (Fan et al. 2018)
    min_p        tokens with at least this share of the likeliest one's probability (Nguyen et al. 2024)
    stop         texts; a rollout ends with the token that completes one, and counts as finished

    Each narrows what the ones before it left, in transformers' order: temperature, top_k, top_p, min_p.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt (token ids) and a seed for each rollout wanted of it. `max_tokens` bounds these rollouts, where they
    may have fewer tokens than `Sampling.max_tokens`."""

    prompt: Sequence[int]
    seeds: Sequence[int]
    max_tokens: int | None = None

    def most(self, sampling: Sampling) -> int:
        """Tokens that each of its rollouts may have."""
        return sampling.max_tokens if self.max_tokens is None else min(self.max_tokens, sampling.max_tokens)


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled continuation: its token ids (the one that ended it included), their log-probabilities under the
    tempered distribution they were drawn from, and whether it ended by itself.

    `experts` [tokens, layers, top_k] are those that the tokens took, of prompt and continuation but for the last token,
    which is never read back; None where they are not recorded. `forced` are the places among `ids` of tokens that were
    not drawn, in their order: they were written to close the thinking (eval.budget) or by a tool (eval.tools), with
    log-probabilities of 0.
    """

    ids: list[int]
    logprobs: list[float]
    finished: bool
    experts: "Tensor | None" = None
    forced: tuple[range, ...] = ()

    @property
    def confidence(self) -> float | None:
        """The mean log-probability of the tokens that were drawn; None where none was."""
        drawn = len(self.ids) - sum(map(len, self.forced))
        return math.fsum(self.logprobs) / drawn if drawn else None  # of forced tokens the log-probability is 0


Written = Callable[[int, int, Sampled], None]
"""Is told of a rollout as soon as it is done: the place of its request, that of its seed, and the rollout."""


class Engine(Protocol):
    """Draws continuations for requests: one list of `Sampled` for each request, in the order of its seeds. `written` is
    told of each as soon as it is done, in any order."""

    def sample(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        written: Written | None = None,
    ) -> list[list[Sampled]]: ...


def rollout_seed(*parts: str | int) -> int:
    """A 64-bit seed from what identifies a rollout, such as (seed, stage, problem, index).

    The draws of a rollout depend on this alone, so sampling 4 now and 4 later is sampling 8.
    """
    # With a separator, so that the parts (1, "12") and (11, "2") are not the same.
    return int.from_bytes(blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest(), "big")
