"""Verifier `choice`: multiple choice, answered by a letter or by the text of a choice.

The gold answer is {"letter": "C", "choices": [...]}. An answer is a letter alone or in one of the usual forms ("C",
"(C)", "C.", "\\text{C}", "option C", "C) 10 eV"), or a choice's text word for word. Several letters are no answer to
one question, and a letter beside another choice's text is none either; both are WRONG. A letter that begins a sentence
("A proton moves") is a word.
"""

import re

from rewards.extract import extract_answer
from rewards.types import Completion, Label, Problem, Verdict

_CLOTHES = re.compile(r"\\(?:text|textbf|mathrm|mathbf|boxed)\s*\{([^{}]*)\}|\\[()\[\]]|[*_`$]+")
_SPACES = re.compile(r"\\[ ,;:!]|~")
# A letter has to be followed by a bracket, a full stop, a colon, an empty line or nothing: "A proton moves" names no
# choice.
_LETTER = re.compile(
    r"(?:(?:the\s+)?(?:answer|choice|option)\s*(?:is|:)?\s*)?[\[(]?\s*([A-Za-z])"
    r"(?:\s*[\])]\s*[.:]?|\s*[.:)]|\s*$|[ \t]*\n[ \t]*(?=\n))\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_GOLD = re.compile(r"\s*[\[(]?\s*([A-Za-z])\s*[\])]?[.:]?\s*")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BRACKETED = re.compile(r"\b([A-Za-z])\s+[\[(]([^\[\]()]{2,})[\])]\s*\.?$")
"""A letter with a choice's text in brackets behind it."""
_BESIDE = re.compile(r"([A-Za-z])\s*[,–—-]?\s+(.+)", re.DOTALL)
"""A letter with something behind it that names the letter's choice only where it is the choice's text."""
_NAMED = re.compile(
    r"[\[(](?P<a>[A-Z])[\])]|\b(?P<b>[A-Z])\)|\b(?:[Aa]nswer|[Cc]hoice|[Oo]ption)\s*(?:is|:)?\s*\(?(?P<c>[A-Z])\b"
    r"|(?:\b(?:or|and)|[,;/])\s+(?P<d>[A-Z])[.:]|\b(?P<e>[A-Z])[.*_$]*\s*\Z"
    r"|^[ \t]*(?P<f>[A-Z])[ \t]*$",
    re.MULTILINE,
)
"""A letter that names a choice in running text."""


def verify(problem: Problem, completion: Completion) -> Verdict:
    """The verdict on a completion. UNGRADABLE where the gold answer is not of this verifier's form."""
    gold = problem.answer
    if why := unusable(gold):
        return Verdict(Label.UNGRADABLE, None, why)
    found = extract_answer(completion)
    if found.text is None:
        return Verdict(Label.NO_ANSWER, None, found.where)
    letter, why = choose(found.text, [str(choice) for choice in gold["choices"]])
    if letter is None:
        shown = found.text if len(found.text) <= 200 else found.text[:197] + "..."
        return Verdict(Label.WRONG, shown, why)
    right = right_letter(gold["letter"])
    if letter == right:
        return Verdict(Label.CORRECT, letter, "equal")
    return Verdict(Label.WRONG, letter, f"not {right}")


def unusable(answer: object) -> str:
    """Why an answer is none that this verifier can compare with; "" where it is one."""
    if not isinstance(answer, dict) or not isinstance(answer.get("letter"), str) \
            or not isinstance(answer.get("choices"), list):
        return 'the gold answer is not {"letter": .., "choices": [..]}'
    letter, known = right_letter(answer["letter"]), _LETTERS[: len(answer["choices"])]
    if letter and letter in known:
        return ""
    return f"the letter {answer['letter'][:40]!r} is none of the {len(answer['choices'])} choices"


def right_letter(letter: str) -> str:
    """The letter of the right choice, which sets also have in brackets and in small letters; "" of what is none."""
    found = _GOLD.fullmatch(letter)
    return found.group(1).upper() if found else ""


def choose(answer: str, choices: list[str]) -> tuple[str | None, str]:
    """(the letter that an answer names, "") or (None, why it names none)."""
    # The texts come first, since a choice may itself be a letter (a variable, a blood group).
    by_text = _with_text(answer, choices)
    if by_text:
        return (min(by_text), "") if len(by_text) == 1 else (None, "the text of several choices")
    bare = _BRACKETED.sub(r"\1. \2", _undressed(answer).strip())
    # "C, 10 eV" names C where 10 eV is its text, and "C, because" is left to the lenient reading.
    if (beside := _BESIDE.fullmatch(bare)) and _with_text(beside[2], choices) == {beside[1].upper()}:
        bare = f"{beside[1]}. {beside[2]}"
    match = _LETTER.fullmatch(bare)
    letter = match.group(1).upper() if match else None
    if match is None or letter is None or ord(letter) - ord("A") >= len(choices):
        return None, "names none of the choices"
    # "A) B" is two guesses; "C) 10 eV" has to agree with itself.
    rest = _plain(match.group(2))
    if rest and _LETTER.fullmatch(match.group(2)) and len(rest) == 1:
        return None, "names several choices"
    others = {one[one.lastgroup or 0] for one in _NAMED.finditer(match.group(2))} - {letter}
    named = _with_text(match.group(2), choices)
    if not named and any(ord(other) - ord("A") < len(choices) for other in others):
        return None, "names several choices"
    if named and letter not in named:
        return None, "a letter beside the text of another choice"
    return letter, ""


def _with_text(answer: str, choices: list[str]) -> set[str]:
    """The letters of the choices that have this text: as it is written where one has it so, since mW is no MW and Aa no
    aa, and otherwise in any letters and markup."""
    for spelled in (_written, _plain, _plain_undressed):
        said = spelled(answer)
        found = {chr(ord("A") + i) for i, text in enumerate(choices) if said and spelled(text) == said}
        if found:
            return found
    return set()


def _written(text: str) -> str:
    """The text without white space, without markup around it, and without a full stop."""
    return re.sub(r"\s+", "", text).strip("$*`").rstrip("$*`.")


def _plain(text: str) -> str:
    """Letters, digits and signs in lower case, without white space, markup and a full stop."""
    return re.sub(r"[\s$*`]+", "", text).rstrip(".").lower()


def _plain_undressed(text: str) -> str:
    return _plain(_SPACES.sub("", _undressed(text)))


def _undressed(text: str) -> str:
    """The text without marks of LaTeX and Markdown around words and formulas."""
    return _CLOTHES.sub(lambda match: match.group(1) or "", text)
