"""A cheap measure of a base model's skill: would it write a correct trace, once it has begun one?"""

import random
from collections.abc import Callable

import torch

from eval.assistant_turns import encode_completion
from eval.language_model import LanguageModel, Tokenizer
from eval.problems.programs import draw_program_of
from eval.problems.words import draw_story_of
from eval.prompts import encode_prompt
from pipeline.contract.errors import StageError
from pipeline.data.corpus.programs import tell_program
from pipeline.data.corpus.stories import story_trace
from pipeline.data.corpus.telling import ENGLISH, tagged
from pipeline.data.rows import Collator, Row
from pipeline.models.pretrained import context_length

PROBLEMS = 96
OPENING = len(("<think>", "Has"))  # tokens of a trace that are given: who says "Zuerst" has a trace of its own


def trace_probe(model: LanguageModel, tokenizer: Tokenizer) -> Callable[[], dict[str, float]]:
    """A function that gives, for each family, the share of training-side problems whose correct English trace is
    the model's own greedy continuation of its first word: one forward pass, no sampling. Traces beyond positions that
    are learned are left out; raises StageError where a family has no others."""
    rng = random.Random("probe")
    context = context_length(model)
    collate = Collator(tokenizer.pad_token_id)
    batches = {}
    for family, draw in (("word_problems", _word_trace), ("programs", _program_trace)):
        rows: list[Row] = []
        for _ in range(PROBLEMS):
            prompt, trace = draw(rng)
            head = encode_prompt(tokenizer, prompt)
            tail = encode_completion(tokenizer, trace, prompt)
            weights = [0.0] * (len(head) + OPENING) + [1.0] * (len(tail) - OPENING)
            if context is None or len(weights) <= context:
                rows.append({"input_ids": head + tail, "weights": weights})
        if not rows:
            raise StageError(f"no trace of the probe's {family} is as short as the {context} positions of the model; "
                             "set length higher, or give the architecture more positions")
        batches[family] = collate(rows)

    def ask() -> dict[str, float]:
        training = model.training
        model.eval()
        shares = {}
        with torch.no_grad():
            for family, here in batches.items():
                batch = {name: value.to(model.device) for name, value in here.items()}
                logits = model(
                    input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
                ).logits
                # Greedy decoding writes the trace exactly if at every place of it the likeliest token is the next
                # one.
                missed = (logits[:, :-1].argmax(-1) != batch["input_ids"][:, 1:]) & (batch["weights"][:, 1:] > 0)
                shares[family] = 1.0 - missed.any(dim=1).float().mean().item()
        model.train(training)
        return shares

    return ask


def _word_trace(rng: random.Random) -> tuple[str, str]:
    story = draw_story_of("train", rng)
    return story.prompt, tagged(story_trace(story, ENGLISH, rng)[0], str(story.answer))


def _program_trace(rng: random.Random) -> tuple[str, str]:
    program = draw_program_of("train", rng)
    return program.prompt, tell_program(program, "correct", ENGLISH, rng)
