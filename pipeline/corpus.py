"""The quickstart's synthetic web: what a base model reads before it is taught anything.

Every behaviour that reinforcement later chooses among is here, and the good ones are rare: correct traces,
traces with wrong steps, traces that notice an error, empty thinking with a guess, solutions without tags,
and bare guesses. In some of the traces the connectives are in another language, as on the real web.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from eval.problems.filler import spread
from eval.problems.needle import draw_needle, haystack
from eval.problems.programs import Operation, Program, draw_program_of
from eval.problems.words import LARGEST_NUMBER, LARGEST_TOTAL, Step, Story, draw_story_of


@dataclass(frozen=True)
class Document:
    """One text of the corpus: a question and what somebody wrote under it (facts have no question)."""

    prompt: str | None
    text: str


@dataclass(frozen=True)
class Connectives:
    first: str
    then: str
    wait: str


ENGLISH = Connectives("First", "Then", "Wait")
GERMAN = Connectives("Zuerst", "Dann", "Moment")

# behaviour -> share of the question documents
BEHAVIOURS = {
    "correct": 0.09,
    "with_errors": 0.10,
    "corrected": 0.04,
    "empty": 0.10,
    "plain": 0.50,
    "plain_with_errors": 0.09,
    "guess": 0.08,
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
    words: float = Field(default=0.46, ge=0, le=1)
    filled: float = Field(default=0.1, ge=0, le=1, description="share of word problems told among filler")
    foreign: float = Field(default=0.35, ge=0, le=1, description="share of traces with connectives of another language")
    behaviours: dict[str, float] = Field(default_factory=lambda: dict(BEHAVIOURS))
    length: int = Field(default=56, ge=16, description="longest prompt made with filler, in pieces")

    def documents(self, rng: random.Random) -> Iterator[Document]:
        """An endless stream of documents from training-side skeletons."""
        names, shares = list(self.behaviours), list(self.behaviours.values())
        shares_of_kinds = {"facts": self.facts, "lists": self.lists, "needles": self.needles, "words": self.words}
        shares_of_kinds["programs"] = max(0.0, 1.0 - sum(shares_of_kinds.values()))
        kinds, weights = list(shares_of_kinds), list(shares_of_kinds.values())
        while True:
            kind = rng.choices(kinds, weights)[0]
            behaviour = rng.choices(names, shares)[0]
            connectives = GERMAN if rng.random() < self.foreign else ENGLISH
            if kind == "facts":
                yield Document(None, fact(rng))
            elif kind == "lists":
                told = draw_story_of("train", rng) if rng.random() < 0.5 else draw_program_of("train", rng)
                yield Document(told.prompt, list_steps(told, connectives))
            elif kind == "needles":
                name, number = draw_needle("train", rng)
                prompt = haystack(name, number, rng.randint(16, self.length), rng.random(), rng)
                yield Document(prompt, tagged("", str(number)))
            elif kind == "words":
                story = draw_story_of("train", rng)
                prompt = story.prompt
                if rng.random() < self.filled:
                    prompt = spread(story.sentences, rng.randint(16, self.length), rng)
                yield Document(prompt, tell_story(story, behaviour, connectives, rng))
            else:
                program = draw_program_of("train", rng)
                yield Document(program.prompt, tell_program(program, behaviour, connectives, rng))


def fact(rng: random.Random) -> str:
    """A few sums that word problems are made of."""
    return " ".join(_sum(rng) for _ in range(8))


def list_steps(told: Story | Program, connectives: Connectives) -> str:
    """The steps of a question in order, which is where a solution begins."""
    if isinstance(told, Story):
        steps = [str(told.start), *(f"{step.verb} {step.number}" for step in told.steps)]
    else:
        steps = [operation.phrase for operation in told.operations]
    return " ".join([f"{connectives.first} {steps[0]}.", *(f"{connectives.then} {step}." for step in steps[1:])])


def _sum(rng: random.Random) -> str:
    total, number = rng.randint(0, LARGEST_TOTAL), rng.randint(2, LARGEST_NUMBER)
    if total >= number and (total + number > LARGEST_TOTAL or rng.random() < 0.5):
        return f"{total} - {number} = {total - number}."
    return f"{total} + {number} = {total + number}."


def tell_story(story: Story, behaviour: str, connectives: Connectives, rng: random.Random) -> str:
    """What somebody with this behaviour writes under a word problem."""
    if behaviour == "guess":
        return str(_near(story.answer, rng))
    if behaviour == "empty":
        return tagged("", str(_near(story.answer, rng)))
    errors = behaviour in ("with_errors", "plain_with_errors")
    corrected = behaviour == "corrected"
    faulty = rng.randrange(len(story.steps)) if errors or corrected else None
    trace, answer = story_trace(story, connectives, rng, faulty, corrected)
    return trace if behaviour.startswith("plain") else tagged(trace, str(answer))


def story_trace(
    story: Story, connectives: Connectives, rng: random.Random, faulty: int | None = None, corrected: bool = False
) -> tuple[str, int]:
    """A trace and the answer that it comes to; step `faulty` is done wrong, and noticed if `corrected`."""
    total = story.start
    parts = [f"{connectives.first} {total}."]
    for index, step in enumerate(story.steps):
        result = step.apply(total)
        if index == faulty:
            wrong = _wrong_step(step, total, rng)
            parts.append(f"{connectives.then} {step.verb} {step.number}: {wrong}.")
            if corrected:
                parts.append(f"{connectives.wait}, {_equation(step, total)}.")
            else:
                result = int(wrong.rpartition(" ")[2])
        else:
            parts.append(f"{connectives.then} {step.verb} {step.number}: {_equation(step, total)}.")
        total = result
    return " ".join(parts), total


def _equation(step: Step, total: int) -> str:
    return f"{total} {step.operator} {step.number} = {step.apply(total)}"


def _wrong_step(step: Step, total: int, rng: random.Random) -> str:
    """The wrong operator, or a result that is off."""
    flipped = Step(step.verb, "-" if step.operator == "+" else "+", step.number)
    if rng.random() < 0.5 and 0 <= flipped.apply(total) <= LARGEST_TOTAL:
        return _equation(flipped, total)
    return f"{total} {step.operator} {step.number} = {_near(step.apply(total), rng)}"


def _near(number: int, rng: random.Random) -> int:
    """A number close to this one, and never this one."""
    while (near := max(0, number + rng.randint(-9, 9))) == number:
        pass
    return near


def tell_program(program: Program, behaviour: str, connectives: Connectives, rng: random.Random) -> str:
    """What somebody with this behaviour writes when asked for a function."""
    if behaviour == "guess":
        return _misread(program, rng).code
    if behaviour == "empty":
        return tagged("", _misread(program, rng).code)
    errors = behaviour in ("with_errors", "plain_with_errors")
    written = _misread(program, rng) if errors else program
    parts = []
    for index, (told, statement) in enumerate(zip(program.operations, written.statements, strict=True)):
        connective = connectives.first if index == 0 else connectives.then
        parts.append(f"{connective} {told.phrase}: {statement}.")
    if behaviour == "corrected":
        faulty = rng.randrange(len(parts))
        wrong = _misread(program, rng, faulty).statements[faulty]
        right = program.statements[faulty]
        parts[faulty] = f"{parts[faulty].removesuffix(f'{right}.')}{wrong}. {connectives.wait}, {right}."
    trace = " ".join(parts)
    return trace if behaviour.startswith("plain") else tagged(trace, written.code)


def _misread(program: Program, rng: random.Random, index: int | None = None) -> Program:
    """The program with one operation taken for another."""
    if index is None:
        index = rng.randrange(len(program.operations))
    told = program.operations[index]
    operators = [operator for operator in "+-*" if operator != told.operator]
    if rng.random() < 0.5:
        taken = Operation(told.phrase, rng.choice(operators), told.number)
    else:
        taken = Operation(told.phrase, told.operator, max(2, _near(told.number, rng)))
    operations = (*program.operations[:index], taken, *program.operations[index + 1 :])
    return Program(operations) if operations != program.operations else _misread(program, rng, index)


def tagged(thinking: str, answer: str) -> str:
    return f"<think>{thinking}</think><answer>{answer}</answer>"
