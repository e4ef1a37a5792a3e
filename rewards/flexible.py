"""A second, lenient reading of completions, for the evaluation of models that were not trained to mark their answers.

Training, rejection sampling and every score by itself take the strict reading of extract.py, in which prose is no
answer. lm-evaluation-harness has a column "flexible-extract" beside "strict-match" for the same reason: a model that
ends in "Therefore, x = 9." knew the answer and not the format. One answer is read here, the last one that is stated, so
that a list of guesses gains nothing.
"""

import re

from rewards import math
from rewards.choice import right_letter
from rewards.extract import Extraction, extract_answer, own_words, split_thinking
from rewards.maths.copied import FORMULA
from rewards.types import Completion, Label, Problem, Verdict

LONGEST = 4_000
"""Characters at the end of a completion in which its last statement is looked for."""

_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+(?=[A-Z\\$*(<])|\n+|(?<=。)")
_STATES = re.compile(r".*(?:=|≈|\b(?:is|are|be|was|equals?|gives?|get|has|have|by)\b|[:：]|是|为)\s*(.+)$", re.DOTALL)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.,/^{])[-−]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:[.,]?\d+)(?:\.\d+)?(?:\s\d+/\d+|/\d+)?(?:\s?\\?%|\s(?:percent|pct)\b)?"
)
_EITHER = re.compile(r"\bor\b")
_ASSIGNED = re.compile(r"(?<![A-Za-z])([A-Za-z](?:_\w)? ?=.*)$", re.DOTALL)
_DENIES = re.compile(
    r"\b(?:not|cannot|can['’]t|isn['’]t|never|(?:less|more|greater|fewer|larger|smaller) than)\W+"
    r"(?:(?:be|equals?|to|exactly|simply)\W+)*[-−$€£\\(*]*\d[\d.,/]*[^\d\n]*$"
)
"""What is said not to be the last value of a sentence. "At least 5" says what is asked for as often as not."""
_PROSE = re.compile(r"(?<![\\A-Za-z])(?!(?:sqrt|and|or|cdot)\b)[A-Za-z]{3,}|[\u4e00-\u9fff]")
"""A word: with one a text is more than an answer."""
_WORDS_BEHIND = re.compile(r",\s+(?=[a-z]{3})")
_LETTER = re.compile(r"\(([A-J])\)|\b([B-J])\b|\bA\b(?=[.,)/}]|\s*(?:$|or\b|and [B-J]\b))")


def extract_flexible(completion: Completion) -> Extraction:
    """The last answer that a completion states, marked or not; None where the thinking was never closed or nothing is
    stated."""
    found = extract_answer(completion)
    if found.text is not None and found.where in ("box", "####"):
        return found
    _, remainder = split_thinking(own_words(completion))
    if remainder is None:
        return found
    marked = found.text is not None and found.where in ("answer tag", "final answer line")
    text = (found.text or "") if marked else remainder
    stated = _stated(text.strip()[-LONGEST:])
    return Extraction(stated, "last statement") if stated else found


def flexible(problem: Problem, completion: Completion, verdict: Verdict) -> Label:
    """What a strict verdict becomes by the lenient reading: CORRECT where the last statement is, and else as it was.

    For verifiers other than `math` and `choice` it is the verdict's own label.
    """
    if verdict.correct or verdict.label is Label.UNGRADABLE or problem.verifier not in ("math", "choice"):
        return verdict.label
    if problem.verifier == "choice":
        return Label.CORRECT if _choice(problem, completion) else verdict.label
    found = extract_flexible(completion)
    if found.text is not None and math.judge(problem, found.text).correct:
        return Label.CORRECT
    return verdict.label


def _choice(problem: Problem, completion: Completion) -> bool:
    """Whether the last letter in the last sentence that has one is the gold one."""
    _, remainder = split_thinking(own_words(completion))
    gold = problem.answer
    for sentence in reversed(_SENTENCE_END.split((remainder or "").strip()[-LONGEST:])):
        letters = [match.group() for match in _LETTER.finditer(sentence) if match.group() != "I"]
        named = {letter.strip("()") for letter in letters}
        if named:
            # Two letters in one sentence ("it is B, not A") are not to be guessed at.
            return named == {right_letter(gold["letter"])}
    return False


def _stated(text: str) -> str:
    """The answer of the last sentence that states one."""
    if not _PROSE.search(text) and math.is_readable(text):
        return text
    for sentence in reversed([part for part in _SENTENCE_END.split(text) if part and part.strip()]):
        if found := _in_sentence(sentence.strip()):
            return found
    return ""


def _in_sentence(sentence: str) -> str:
    if _DENIES.search(sentence):
        return ""
    formulas = [next(filter(None, match.groups())) for match in FORMULA.finditer(sentence)]
    # A formula without a number or a sign names something ("the largest $n$ is 34"), and one of words is no formula.
    values = [
        formula for formula in formulas
        if re.search(r"[\d\\∞=<>+]", formula) and ("\\text" in formula or not _PROSE.search(formula))
    ]
    either = _EITHER.search(sentence) is not None
    if values:
        # Alternatives are one answer, of which the last one alone is not what was said.
        return " or ".join(values) if either else _last_side(values[-1])
    if either:
        stated = _ASSIGNED.search(sentence) or _STATES.match(sentence)
        tail = stated[1].strip().rstrip(".!。") if stated else ""
        return tail if math.is_readable(tail) and _EITHER.search(tail) else ""
    if bold := [text for text in _BOLD.findall(sentence) if re.search(r"\d", text)]:
        sentence = bold[-1]
    states = _STATES.match(sentence)
    if states and math.is_readable(tail := _WORDS_BEHIND.split(states[1].strip())[0].rstrip(".!。").strip()):
        return tail
    numbers = [match.group().strip() for match in _NUMBER.finditer(sentence)]
    # Numbers in a row, without a word, are no statement.
    return numbers[-1] if numbers and (len(numbers) == 1 or _PROSE.search(sentence) or "=" in sentence) else ""


def _last_side(formula: str) -> str:
    """The value at the end of a chain of equations; a single equation keeps its name."""
    return formula.rpartition("=")[2].strip() if formula.count("=") > 1 else formula.strip()
