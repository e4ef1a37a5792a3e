"""The quickstart's synthetic web: what a base model reads before it is taught anything.

Every behaviour that reinforcement later chooses among is here, and the good ones are rare: correct traces,
traces with wrong steps, traces that notice an error, empty thinking with a guess, solutions without tags,
and bare guesses. In some of the traces the connectives are in another language, as on the real web.
"""

import random
import re
from collections.abc import Iterator
from itertools import islice
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval.problems.filler import hide, pieces
from eval.problems.needle import draw_needle, haystack
from eval.problems.programs import draw_program_of
from eval.problems.words import Story, draw_story_of
from pipeline.contract.numbers import MOST_TOKENS, Probability
from pipeline.data.corpus.basics import fact, list_steps
from pipeline.data.corpus.countdown import draw_training_countdown, tell_countdown
from pipeline.data.corpus.products import product_document
from pipeline.data.corpus.programs import tell_program
from pipeline.data.corpus.stories import tell_story
from pipeline.data.corpus.telling import ENGLISH, GERMAN, tagged
from pipeline.data.rows import Document

__all__ = ["BEHAVIOURS", "Corpus", "Document"]

SHORTEST = 16
"""Pieces of the shortest prompt that filler is added to."""

TRIED = 64  # texts: with fewer that fit among them training would mostly make texts to throw them away
TAG = re.compile(r"</?[a-z]+>")  # is one token of the quickstart's tokenizer

Behaviour = Literal["correct", "with_errors", "corrected", "empty", "plain", "plain_with_errors", "guess"]

# behaviour -> share of the question documents
BEHAVIOURS: dict[Behaviour, float] = {
    "correct": 0.14,
    "with_errors": 0.08,
    "corrected": 0.05,
    "empty": 0.08,
    "plain": 0.50,
    "plain_with_errors": 0.08,
    "guess": 0.07,
}


class Corpus(BaseModel):
    """Shares of the kinds of documents (what is left over are programs), and of behaviours under questions.

    `length` is the longest text that filler is added to reach, in pieces: a short web has it at the length of a
    short problem, a long one goes on to the context's length.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    facts: Probability = Field(default=0.08, description="share of documents that are sums")
    lists: Probability = Field(
        default=0.04, description="share that tells the steps of a question over, without doing them"
    )
    needles: Probability = Field(default=0.05, description="share that hides a sentence in filler, and asks for it")
    words: Probability = Field(default=0.38, description="share of word problems; what is left over are programs")
    countdown: Probability = Field(default=0.0, description="share of Countdown: reach a number with given numbers")
    products: Probability = Field(
        default=0.0, description="share of products of large numbers, three in four with a calculator to call"
    )
    filled: Probability = Field(default=0.1, description="share of word problems told among filler")
    foreign: Probability = Field(default=0.35, description="share of traces with connectives of another language")
    behaviours: dict[Behaviour, Probability] = Field(
        default_factory=lambda: dict(BEHAVIOURS), description="shares of the ways in which questions are answered"
    )
    length: int = Field(
        default=56, ge=SHORTEST, le=MOST_TOKENS, json_schema_extra={"unit": "pieces"},
        description="longest prompt that is made with filler, in words and signs"
    )

    @model_validator(mode="after")
    def _check_shares(self) -> "Corpus":
        # What binary fractions such as 0.1 are off by, summed over six of them, is far below this.
        if (total := self.facts + self.lists + self.needles + self.words + self.countdown
                  + self.products) > 1 + 1e-6:
            raise ValueError(f"facts, lists, needles, words, countdown and products make {total:.2f} together, and are "
                             "shares of one whole; those that are left out have defaults, which 0.0 switches off")
        if not sum(self.behaviours.values()):
            raise ValueError("behaviours needs a share above 0 for one of them at least")
        return self

    def fits(self, length: int) -> bool:
        """Whether some of the first texts are at most `length` tokens long, in words and signs (see TAG)."""
        # The shortest are the same with less filler, and a million pieces of it take seconds.
        short = self.model_copy(update={"length": min(self.length, max(length, SHORTEST))})
        known = islice(short.documents(random.Random("fits")), TRIED)
        return any(pieces(TAG.sub("x", f"{text.prompt or ''} {text.text}")) <= length for text in known)

    def documents(self, rng: random.Random) -> Iterator[Document]:
        """An endless stream of documents from training-side skeletons."""
        names, shares = list(self.behaviours), list(self.behaviours.values())
        kinds = {
            "facts": self.facts,
            "lists": self.lists,
            "needles": self.needles,
            "words": self.words,
            "countdown": self.countdown,
            "products": self.products,
        }
        kinds["programs"] = max(0.0, 1.0 - sum(kinds.values()))
        while True:
            kind = rng.choices(list(kinds), list(kinds.values()))[0]
            behaviour = rng.choices(names, shares)[0]
            connectives = GERMAN if rng.random() < self.foreign else ENGLISH
            if kind == "facts":
                yield Document(None, fact(rng))
            elif kind == "lists":
                if rng.random() < 0.7:
                    story = draw_story_of("train", rng)
                    yield Document(self._told(story, rng), list_steps(story, connectives, rng))
                else:
                    program = draw_program_of("train", rng)
                    yield Document(program.prompt, list_steps(program, connectives, rng))
            elif kind == "needles":
                name, number = draw_needle("train", rng)
                prompt = haystack(name, number, rng.randint(16, self.length), rng.random(), rng)
                yield Document(prompt, tagged("", str(number)))
            elif kind == "words":
                story = draw_story_of("train", rng)
                yield Document(self._told(story, rng), tell_story(story, behaviour, connectives, rng))
            elif kind == "countdown":
                problem = draw_training_countdown(rng)
                yield Document(problem.prompt, tell_countdown(problem, behaviour, connectives, rng))
            elif kind == "products":
                yield product_document(behaviour, rng)
            else:
                program = draw_program_of("train", rng)
                yield Document(program.prompt, tell_program(program, behaviour, connectives, rng))

    def _told(self, story: Story, rng: random.Random) -> str:
        """The prompt of a story, now and then in a longer text."""
        if rng.random() >= self.filled:
            return story.prompt
        depth = 1.0 if rng.random() < 0.25 else rng.random()
        return hide(story.passage, story.question, rng.randint(16, self.length), depth, rng)
