"""A budget for thinking: what is still thinking when it is spent is told to answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from eval.answer_formats import CLOSE, OPEN
from eval.engine.types import Engine, Request, Sampled, Sampling, Written, rollout_seed
from eval.language_model import Tokenizer, decode_completion
from eval.protocol import Prompting


def sample_within(
    engine: Engine,
    tokenizer: Tokenizer,
    requests: Sequence[Request],
    sampling: Sampling,
    prompting: Prompting,
    progress: Callable[[int, int], None] | None = None,
    written: Written | None = None,
) -> list[list[Sampled]]:
    """Continuations whose thinking ends after `prompting.thinking_budget` tokens at the latest, by "</think>" where the
    model does not end it (s1's budget forcing, arXiv 2501.19393, without its "Wait" for more).

    `sampling.max_tokens` bounds thinking and answer together. The tokens of a forced "</think>" are part of the
    completion and have log-probability 0. A completion that ends or closes its thinking in time is the one that no
    budget would have given up to there; its answer goes on from a fresh stream.
    """
    budget = min(prompting.thinking_budget or sampling.max_tokens, sampling.max_tokens)
    left = sampling.max_tokens - budget

    def in_time(place: int, index: int, one: Sampled) -> None:
        if written and (one.finished or not left):
            written(place, index, one)

    # First every rollout up to its budget; then those that have not ended go on, from what they wrote.
    found = engine.sample(requests, replace(sampling, max_tokens=budget), progress, in_time)
    # As plain text: </think> is a special token of some tokenizers and several tokens of others.
    close = [int(token) for token in tokenizer(CLOSE, add_special_tokens=False)["input_ids"]]
    goes_on: list[tuple[int, int, list[int]]] = []
    for place, group in enumerate(found):
        for index, one in enumerate(group):
            if not one.finished and left:
                forced = close if _thinks(tokenizer, one, prompting) else []
                goes_on.append((place, index, forced))

    def later(number: int, _: int, rest: Sampled) -> None:
        place, index, forced = goes_on[number]
        one = found[place][index]
        whole = Sampled(
            [*one.ids, *forced, *rest.ids], [*one.logprobs, *[0.0] * len(forced), *rest.logprobs], rest.finished
        )
        found[place][index] = whole
        if written:
            written(place, index, whole)

    # A stream of its own: the first part may have used any number of draws.
    again = [Request([*requests[place].prompt, *found[place][index].ids, *forced],
                     [rollout_seed("after the budget", requests[place].seeds[index])])
             for place, index, forced in goes_on]
    # With no tokens left nobody goes on, and there is no request to which the number would apply.
    engine.sample(again, replace(sampling, max_tokens=max(left, 1)), written=later)
    return found


def _thinks(tokenizer: Tokenizer, one: Sampled, prompting: Prompting) -> bool:
    text = decode_completion(tokenizer, one.ids)
    return CLOSE not in text and (prompting.open_thinking or OPEN in text)
