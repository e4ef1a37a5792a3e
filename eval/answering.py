"""Rollouts as a protocol asks for them: drawn in one go, within a budget for thinking, or with tools."""

from collections.abc import Callable, Sequence

from eval.answer_reader import AnswerReader
from eval.budget import sample_within
from eval.engine.types import Engine, Request, Sampled, Sampling, Written
from eval.prompts import settled
from eval.protocol import Prompting
from eval.tools.box import toolbox
from eval.tools.conversation import Conversations


def answered(
    engine: Engine, reader: AnswerReader, requests: Sequence[Request], sampling: Sampling, how: Prompting,
    progress: Callable[[int, int], None] | None = None, written: Written | None = None,
) -> list[list[Sampled]]:
    """What an engine draws for requests that were put as `how` says."""
    if how.tools is not None:
        box = toolbox(reader.tokenizer, settled(reader.tokenizer, how))
        return Conversations(engine, reader, box, requests, sampling, written).sample(progress)
    if how.thinking_budget is not None:
        return sample_within(engine, reader, requests, sampling, how.thinking_budget, progress, written)
    return engine.sample(requests, sampling, progress, written)
