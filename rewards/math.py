"""Verifier `math`: whether a short mathematical answer equals the gold one.

An exact path decides nearly everything in this process (rewards/maths/). What it cannot read, such as a sine or a cube
root of 2, goes to sympy in a process that can be killed: two seconds, less than a gigabyte, no signal or timer touched
here.

The policy: numbers are compared exactly, however large. A decimal stands for a number that no decimal can write only
with six digits or more. A percentage is its hundredth, and where the gold is one, the number before the sign will do. A
missing unit is forgiven, another one is not. Tuples, sets, intervals, times and dates are types of their own, and all
of a set is needed. Spaces and brackets make lists: `1,234` is a number, `1, 234` and `(1,234)` are not. An expression
that the question itself states is no answer where the gold one has fewer operations: `99^2+99+1` is not 9901 to "What
is 99^2+99+1?", and is to every other question.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache

from rewards.extract import extract_answer
from rewards.maths import decision
from rewards.maths.agreement import agree
from rewards.maths.algebra import TooLarge, Unsupported
from rewards.maths.answers import readings
from rewards.maths.brackets import respelled
from rewards.maths.clean import LONGEST, clean
from rewards.maths.copied import is_copied
from rewards.maths.kinds import Answer, Group, Words
from rewards.maths.numerals import may_be_two
from rewards.types import Completion, Label, Problem, Verdict

_HASHES = re.compile(r"^[ \t]*####", re.MULTILINE)
_EQUAL = "equal"
"""The reason of a verdict on texts that were read and mean the same."""
_PLAIN = re.compile(r"\s*\$?([-+]?)([1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.(\d+))?\.?\s*", re.ASCII)

def verify(problem: Problem, completion: Completion) -> Verdict:
    """The verdict on a completion whose gold answer is `str(problem.answer)`, or the box or #### in it."""
    found = extract_answer(completion)
    if found.text is None:
        return Verdict(Label.NO_ANSWER, None, found.where)
    gold = gold_of(problem)
    verdict = judge(problem, found.text)
    if found.parts is None or verdict.label is Label.CORRECT:
        return verdict
    # Of a problem with several parts, all boxes together.
    of_parts = compare(gold, found.parts)
    return of_parts if of_parts.correct else verdict


def judge(problem: Problem, answer: str) -> Verdict:
    """The verdict on an answer that is already extracted, for which the question's own expression is none."""
    gold = gold_of(problem)
    verdict = compare(gold, answer)
    # What was not read is the gold answer's own text, or a number.
    if verdict.reason == _EQUAL and _plain(answer) is None and is_copied(
        problem.prompt, answer, _readings(gold), _readings(answer)
    ):
        return replace(verdict, label=Label.WRONG, reason="the question's own expression, not worked out")
    return verdict


def gold_of(problem: Problem) -> str:
    """The gold answer, out of a whole solution where a data set has that in its place; nothing, which no answer equals,
    where there is none or several: "None" is a text that a model can write."""
    if problem.answer is None or (isinstance(problem.answer, Collection) and not isinstance(problem.answer, str)):
        return ""
    gold = str(problem.answer)
    if "####" in gold and "\\boxed" not in gold and not _HASHES.search(gold):
        # A solution of GSM8K whose lines were joined.
        return gold.rpartition("####")[2].strip()
    return extract_answer(Completion(gold)).text or "" if "\\boxed" in gold or "####" in gold else gold


def is_readable(text: str) -> bool:
    """Whether a text can be read as an answer that is no mere words."""
    if not text or len(text) > LONGEST:
        return False
    try:
        return any(not isinstance(one, Words) for one in _readings(text))
    except TooLarge:
        return True


def compare(gold: str, answer: str) -> Verdict:
    """The verdict on an answer that is already extracted.

    UNGRADABLE where the gold answer cannot be read, or where the two could not be compared in time.
    """
    shown = answer if len(answer) <= 200 else answer[:197] + "..."
    plain_gold, plain = _plain(gold), _plain(answer)
    # Most answers of most sets are plain numbers, and need none of what follows.
    if plain_gold is not None and plain is not None:
        return Verdict(Label.CORRECT, shown, _EQUAL) if plain_gold == plain else _different(gold, shown)
    return _by_text(gold, answer, shown) or _by_meaning(gold, answer, shown)


def _by_text(gold: str, answer: str, shown: str) -> Verdict | None:
    """The verdict where the two texts alone tell it: one of them is too long or empty, or they are the same."""
    # Before anything else is done with them: cleaning takes time that grows with the length.
    if len(gold) > LONGEST:
        return Verdict(Label.UNGRADABLE, shown, "the gold answer is too long to be one")
    if len(answer) > LONGEST:
        return Verdict(Label.WRONG, shown, f"more than {LONGEST} characters are no answer")
    gold_text, answer_text = clean(gold), clean(answer)
    if not gold_text:
        return Verdict(Label.UNGRADABLE, shown, "the gold answer is empty")
    if not answer_text:
        return Verdict(Label.NO_ANSWER, None, "empty answer")
    return Verdict(Label.CORRECT, shown, "the same text") if answer_text == gold_text else None


def _by_meaning(gold: str, answer: str, shown: str) -> Verdict:
    """The verdict on two texts that differ, by what they can be read as."""
    # The same failure counts differently on the two sides: for a gold answer nobody can be blamed, a completion can.
    try:
        golds = _readings(gold)
    except TooLarge as error:
        return Verdict(Label.UNGRADABLE, shown, f"the gold answer is too large to compute: {error}")
    try:
        answers = _readings(answer)
    except TooLarge as error:
        return Verdict(Label.WRONG, shown, f"too large to compute: {error}")
    if not golds and respelled(clean(gold)) == respelled(clean(answer)):
        return Verdict(Label.CORRECT, shown, "the same text")
    if not golds:
        # It can be compared as text alone, and as text it differs.
        return Verdict(Label.UNGRADABLE, shown, "the gold answer cannot be read")
    if not answers:
        return Verdict(Label.WRONG, shown, "the answer cannot be read as mathematics")
    return _of_readings(golds, answers, gold, shown)


def _of_readings(golds: tuple[Answer, ...], answers: tuple[Answer, ...], gold: str, shown: str) -> Verdict:
    """CORRECT where any two readings agree; UNGRADABLE where none do and one pair could not be compared."""
    # Any pair will do, since an answer of 1,5 does not say whether it is a decimal or two answers. What is undecided
    # of one pair is kept until the end, because a later pair may still agree.
    undecided = ""
    doubtful = "," in gold and may_be_two(clean(gold))
    for g in golds:
        for a in answers:
            try:
                if not agree(g, a):
                    continue
                if not doubtful or isinstance(g, Group):
                    return Verdict(Label.CORRECT, shown, _EQUAL)
                # The same spelling of a gold answer has to be the one that its author meant.
                undecided = "the gold answer is a decimal or two answers"
            except (decision.Undecided, Unsupported, TooLarge) as error:
                undecided = str(error) or "not decided"
    return Verdict(Label.UNGRADABLE, shown, undecided) if undecided else _different(gold, shown)


def _different(gold: str, shown: str) -> Verdict:
    return Verdict(Label.WRONG, shown, f"not equal to {gold if len(gold) <= 80 else gold[:77] + '...'}")


def _plain(text: str) -> tuple[bool, str, str] | None:
    """(negative, digits before the point, digits behind it) of a number written plainly, as nearly all are."""
    match = _PLAIN.fullmatch(text) if len(text) <= 100 else None
    if match is None:
        return None
    whole, part = match[2].replace(",", "").lstrip("0"), (match[3] or "").rstrip("0")
    return (match[1] == "-" and bool(whole or part), whole, part)


# A gold answer is read once for all rollouts of its group, which also tend to end in few different answers.
@lru_cache(maxsize=4096)
def _readings(text: str) -> tuple[Answer, ...]:
    return tuple(readings(text))


def forget_readings() -> None:
    """Drop what is remembered; the idle processes stay."""
    _readings.cache_clear()
    decision.forget()


def forget() -> None:
    """Drop what is remembered and end the idle processes."""
    forget_readings()
    decision.close()
