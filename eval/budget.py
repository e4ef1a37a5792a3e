"""A budget for thinking: what is still thinking when it is spent is told to answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from eval.answer_reader import AnswerReader
from eval.engine.types import Engine, Request, Sampled, Sampling, Written, rollout_seed
from eval.forcing import cut, joined
from rewards.extract import split_thinking
from rewards.types import Completion


def sample_within(
    engine: Engine,
    reader: AnswerReader,
    requests: Sequence[Request],
    sampling: Sampling,
    thinking_budget: int,
    progress: Callable[[int, int], None] | None = None,
    written: Written | None = None,
) -> list[list[Sampled]]:
    """Continuations whose thinking ends after `thinking_budget` tokens at the latest, by "</think>" (or what the
    format has in its place) where the model does not end it (s1's budget forcing, arXiv 2501.19393, without its "Wait"
    for more).

    `sampling.max_tokens` bounds thinking and answer together. The tokens of a forced "</think>" are part of the
    completion, come on top of `sampling.max_tokens` and have log-probability 0. A completion that ends or closes its
    thinking in time is the one that no budget would have given up to there; its answer goes on from a fresh stream.
    With the budget spent no model goes back to thinking: a completion whose answer writes a tag of it once more is cut
    off before that tag.
    """
    budget = min(thinking_budget, sampling.max_tokens)
    left = sampling.max_tokens - budget

    def in_time(place: int, index: int, one: Sampled) -> None:
        if written and (one.finished or not left):
            written(place, index, one)

    # First every rollout up to its budget; then those that have not ended go on, from what they wrote.
    found = engine.sample(requests, replace(sampling, max_tokens=budget), progress, in_time)
    goes_on: list[tuple[int, int, list[int]]] = []
    for place, group in enumerate(found):
        for index, one in enumerate(group):
            if not one.finished and left:
                forced = _forced(reader, one.ids, opened=reader.opens(requests[place].prompt))
                if _bound(requests[place], one, forced) != 0:
                    goes_on.append((place, index, forced))
                elif written:
                    written(place, index, one)

    def later(number: int, _: int, rest: Sampled) -> None:
        place, index, forced = goes_on[number]
        begun = found[place][index]
        known = len(begun.ids) + len(forced)
        kept = max(0, reader.answered([*begun.ids, *forced, *rest.ids], known) - known)
        stopped = reader.stopped([*begun.ids, *forced], rest.ids[:kept])
        kept = kept if stopped is None else stopped
        part = cut(rest, kept, len(again[number].prompt))
        whole = joined(begun, forced, part if stopped is None else replace(part, finished=True))
        found[place][index] = whole
        if written:
            written(place, index, whole)

    # A stream of its own: the first part may have used any number of draws.
    again = [Request([*requests[place].prompt, *found[place][index].ids, *forced],
                     [rollout_seed("after the budget", requests[place].seeds[index])],
                     _bound(requests[place], found[place][index], forced))
             for place, index, forced in goes_on]
    # With no tokens left nobody goes on, and there is no request to which the number would apply.
    engine.sample(again, replace(sampling, max_tokens=max(left, 1)), written=later)
    return found


def _bound(request: Request, begun: Sampled, forced: Sequence[int]) -> int | None:
    """Tokens that a request leaves behind these; None where it has no bound of its own."""
    return None if request.max_tokens is None else max(0, request.max_tokens - len(begun.ids) - len(forced))


def _forced(reader: AnswerReader, ids: Sequence[int], *, opened: bool) -> list[int]:
    """What closes the thinking that a completion is in; nothing where it is not in one."""
    raw = reader.raw(ids)
    _, answer = split_thinking(Completion(reader.format.read(raw, opened=opened)))
    if answer is not None and not reader.format.begins_part(raw):
        return []
    # As plain text: </think> is a special token of some tokenizers and several tokens of others.
    close = reader.tokenizer(reader.format.close(raw), add_special_tokens=False)["input_ids"]
    return [int(token) for token in close]
