"""Whether an answer is the question's own expression, which has the right value and was not worked out."""

import re
from functools import lru_cache

from rewards.maths.clean import LONGEST, clean
from rewards.maths.kinds import Answer
from rewards.maths.parser import GREEK
from rewards.maths.scalars import Number

FORMULA = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|\$([^$\n]+?)\$", re.DOTALL)
_DIGITS = r"(?:\d+(?:\.\d*)?|\.\d+)"
_FRACTION = rf"(?:\{{?{_DIGITS} ?/ ?{_DIGITS}\}}?|\\frac ?(?:\{{ ?{_DIGITS} ?\}}|\d) ?(?:\{{ ?{_DIGITS} ?\}}|\d))"
_POWER_OF_TEN = rf"(?:{_DIGITS} ?\* ?)?10 ?\^ ?(?:\{{ ?-?\d+ ?\}}|\d)"
_NUMBER = re.compile(rf"[-+]?\s*\(?(?:{_POWER_OF_TEN}|(?:\d+ ?)?{_FRACTION}|{_DIGITS})\)?")
"""A number as it is written down: 3/4, 1 1/2 and 3*10^8 are no computations."""
_TOKEN = re.compile(rf"{_DIGITS}|\\[A-Za-z]+|\S")
_NO_OPERATION = GREEK | {"overline", "bar", "dot", "text", "pi", "infty"}
_SIGNS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-"})
_GOES_ON = frozenset("+-*/^!<>()")


def is_copied(prompt: str, answer: str, golds: tuple[Answer, ...], answers: tuple[Answer, ...]) -> bool:
    """Whether an answer stands in the question as it is and has more operations than the gold answer, so that it is no
    other way to write that. Only scalars are looked at, without their units."""
    scalars = [one for one in answers if isinstance(one, Number)]
    of_gold = [one for one in golds if isinstance(one, Number)]
    if not scalars or not of_gold:
        return False
    if min(_operations(one.text) for one in scalars) <= max(_operations(one.text) for one in of_gold):
        return False
    return _bare(answer.rpartition("=")[2]) in _formulas(prompt) or _stands_in(prompt, answer)


def _operations(text: str) -> int:
    """Signs, functions, roots, fractions and products without a sign; 0 for a number that is only written down."""
    if _NUMBER.fullmatch(text.strip()):
        return 0
    count, before = 0, ""
    for token in _TOKEN.findall(text):
        begins = token[0].isalnum() or token in "(π" or token[0] == "\\"
        if token in "+-":
            count += before not in ("", *"([{|+-*/^")
        elif token in "*/^!" or (token[0] == "\\" and token[1:] not in _NO_OPERATION):
            count += 1
        if begins and before and (before[-1].isalnum() or before in ")}!π") and before[0] != "\\":
            count += 1
        before = token
    return count


@lru_cache(maxsize=512)
def _formulas(prompt: str) -> frozenset[str]:
    """The formulas of a question, and the sides of those that are equations."""
    found = [next(filter(None, match.groups())) for match in FORMULA.finditer(prompt)]
    return frozenset(_bare(side) for one in found if len(one) <= LONGEST for side in (one, *one.split("=")))


def _bare(text: str) -> str:
    """The cleaned text without braces and spaces."""
    return re.sub(r"[{}\s]", "", clean(text.strip().rstrip(".,;?").strip()))


def _stands_in(prompt: str, answer: str) -> bool:
    """Whether an answer stands in the plain text, and is not a part of an expression there."""
    tokens = _TOKEN.findall(clean(answer).rpartition("=")[2])
    plain = prompt.translate(_SIGNS)
    for match in re.finditer(r"\s*".join(map(re.escape, tokens)), plain):
        before, behind = plain[: match.start()], plain[match.end() :]
        cut = before[-1:].isalnum() or behind[:1].isalnum() or re.match(r"\.\d", behind)
        if not cut and not {before.rstrip()[-1:], behind.lstrip()[:1]} & _GOES_ON:
            return True
    return False
