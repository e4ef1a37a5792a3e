"""What an answer takes of a model's context, as a stage says it, and whether there is room for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.protocol import Prompting
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonMapping


@dataclass(frozen=True)
class Room:
    """A stage asks `models` (input references) all its problems in this way, and lets each answer take `completion`
    tokens. `beyond` says that what does not fit is asked all the same. `shots` worked examples of a problem set stand
    before each of its questions, which `prompting` does not hold, since each set has others."""

    models: Sequence[str]
    prompting: Prompting
    completion: int
    beyond: bool = False
    shots: int = 0


LIMITS = ("max_position_embeddings", "max_seq_len", "n_positions")
"""What families call the number of positions that a model was made for."""


def limit_of(config: JsonMapping) -> int | None:
    """How many tokens a model was made for, by the fields of its config, which families call differently; None where
    they do not say."""
    found = [config[name] for name in LIMITS if isinstance(config.get(name), int)]
    return int(found[0]) if found else None


def beyond(prompts: Sequence[Sequence[int]], completion: int, context: int | None) -> tuple[int, int]:
    """How many of `prompts` (token ids) leave no room for an answer of `completion` tokens in `context`, and the tokens
    of the longest prompt."""
    longest = max(map(len, prompts), default=0)
    return (0 if context is None else sum(len(prompt) + completion > context for prompt in prompts)), longest


def require_room(prompts: Sequence[Sequence[int]], room: Room, context: int | None, who: str) -> None:
    """Raises StageError unless each of `prompts` (token ids) leaves room for an answer in `context` tokens. `who` is
    the stage and the model, as the message begins."""
    too_long, longest = beyond(prompts, room.completion, context)
    if room.beyond or context is None or not too_long:
        return
    left = context - longest
    advice = f"set max_completion_tokens to at most {left}" if left >= 1 else "leave the longest out"
    if room.shots:
        advice += ", show fewer worked examples (shots)"
    raise StageError(
        f"{who}: {too_long:,} of {len(prompts):,} prompts, the longest of {longest:,} tokens, and answers of up to "
        f"{room.completion:,} do not fit in its context of {context:,}; {advice}, extend the context first (kind: "
        "extend), or set beyond_context: true"
    )


def require_rows_fit(longest: int | None, context: int | None, who: str) -> None:
    """Raises StageError where rows of `longest` tokens are longer than `context`; either may be unknown. `who` is the
    stage and the model, as the message begins."""
    if longest is not None and context is not None and longest > context:
        raise StageError(f"{who}: max_length {longest:,} is above its context of {context:,}; lower or leave it out, "
                         "extend the context first (kind: extend), or set beyond_context: true")
