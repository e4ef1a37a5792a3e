"""The quickstart's synthetic web: what a base model reads before it is taught anything.

Every behaviour that reinforcement later chooses among is here, and the good ones are rare: correct traces,
traces with wrong steps, traces that notice an error, empty thinking with a guess, solutions without tags,
and bare guesses. In some of the traces the connectives are in another language, as on the real web.
"""

import random
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from eval.problems.filler import hide
from eval.problems.needle import draw_needle, haystack
from eval.problems.programs import draw_program_of
from eval.problems.words import Story, draw_story_of
from pipeline.data.corpus.basics import fact, list_steps
from pipeline.data.corpus.countdown import draw_training_countdown, tell_countdown
from pipeline.data.corpus.programs import tell_program
from pipeline.data.corpus.stories import tell_story
from pipeline.data.corpus.telling import ENGLISH, GERMAN, tagged
from pipeline.data.rows import Document

__all__ = ["BEHAVIOURS", "Corpus", "Document"]

# behaviour -> share of the question documents
BEHAVIOURS = {
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

    facts: float = Field(default=0.08, ge=0, le=1, description="sums")
    lists: float = Field(default=0.04, ge=0, le=1, description="the steps of a question told over, without doing them")
    needles: float = Field(default=0.05, ge=0, le=1)
    words: float = Field(default=0.38, ge=0, le=1)
    countdown: float = Field(default=0.0, ge=0, le=1)
    filled: float = Field(default=0.1, ge=0, le=1, description="share of word problems told among filler")
    foreign: float = Field(default=0.35, ge=0, le=1, description="share of traces with connectives of another language")
    behaviours: dict[str, float] = Field(default_factory=lambda: dict(BEHAVIOURS))
    length: int = Field(default=56, ge=16, description="longest prompt made with filler, in pieces")

    def documents(self, rng: random.Random) -> Iterator[Document]:
        """An endless stream of documents from training-side skeletons."""
        names, shares = list(self.behaviours), list(self.behaviours.values())
        kinds = {
            "facts": self.facts,
            "lists": self.lists,
            "needles": self.needles,
            "words": self.words,
            "countdown": self.countdown,
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
            else:
                program = draw_program_of("train", rng)
                yield Document(program.prompt, tell_program(program, behaviour, connectives, rng))

    def _told(self, story: Story, rng: random.Random) -> str:
        """The prompt of a story, now and then in a longer text."""
        if rng.random() >= self.filled:
            return story.prompt
        depth = 1.0 if rng.random() < 0.25 else rng.random()
        return hide(story.passage, story.question, rng.randint(16, self.length), depth, rng)
