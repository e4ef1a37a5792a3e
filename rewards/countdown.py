"""Verifier `countdown`: an arithmetic expression that makes a target out of given numbers.

The answer of a problem is {"numbers": [3, 7, 25], "target": 46}. An expression may use each number at most
once, with + - * / and brackets; it is evaluated in exact fractions by the parser below, never by Python's
eval. LaTeX's \\times, \\cdot, \\div and \\frac, and a written-out result ("... = 46"), are read too.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from rewards.extract import extract_answer
from rewards.types import Completion, Label, Problem, Verdict

LONGEST_EXPRESSION = 400
DEEPEST_NESTING = 40

_SIGNS = {
    "\u00d7": "*", "\u00b7": "*", "\u22c5": "*", "\u2217": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-",
    "\\times": "*", "\\cdot": "*", "\\div": "/", "\\left": "", "\\right": "", "\\(": "", "\\)": "",
    "[": "(", "]": ")", "$": "",
}
_SIGN = re.compile("|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True)))
# Numbers are whole: 2.5 is refused, and not read as 2 with something behind it. [0-9] and not \d, which stands for the
# digits of every script.
_TOKEN = re.compile(r"\s*([0-9]+(?![0-9.]*\.[0-9])|\\d?frac|[-+*/(){}])")


class NotAnExpression(ValueError):
    """The text is not an arithmetic expression as described above, or breaks a rule of the game."""


def verify(problem: Problem, completion: Completion) -> Verdict:
    """CORRECT where the answer is an expression over the given numbers that equals the target."""
    game = _game(problem.answer)
    if game is None:
        return Verdict(Label.UNGRADABLE, None, unusable(problem.answer))
    numbers, target = game
    found = extract_answer(completion)
    if found.text is None:
        return Verdict(Label.NO_ANSWER, None, found.where)
    text = " ".join(found.text.split())
    try:
        value, used = evaluate(text)
    except NotAnExpression as error:
        # Nothing marked it as an answer and it does not read as one: prose rather than a wrong solution.
        if found.where == "bare answer":
            return Verdict(Label.NO_ANSWER, None, "no expression is marked as the answer")
        return Verdict(Label.WRONG, text[:LONGEST_EXPRESSION], str(error))
    return _verdict(text, value, Counter(used), Counter(numbers), target)


def unusable(answer: Any) -> str:
    """Why an answer is none that this verifier can compare with; "" where it is one."""
    return "" if _game(answer) is not None else "the problem's answer is not {'numbers': [..], 'target': ..}"


def _verdict(text: str, value: Fraction, used: Counter[int], numbers: Counter[int], target: int) -> Verdict:
    """The verdict on an expression `text` that has this value and uses these numbers."""
    # Counted: a number that is given once may be used once.
    beyond = used - numbers
    if beyond:
        number = min(beyond)
        given = number in numbers
        return Verdict(Label.WRONG, text, f"{number} is {'used more often than' if given else 'not'} given")
    if value != target:
        return Verdict(Label.WRONG, text, f"it equals {value}, not {target}")
    return Verdict(Label.CORRECT, text, f"it equals {target}")


def evaluate(text: str) -> tuple[Fraction, list[int]]:
    """The exact value of an expression and the numbers in it, in order; "expression = value" must be true.

    Raises NotAnExpression, also for a division by zero.
    """
    if len(text) > LONGEST_EXPRESSION:
        raise NotAnExpression(f"an expression of more than {LONGEST_EXPRESSION} characters")
    sides = _SIGN.sub(lambda sign: _SIGNS[sign.group()], text).strip().rstrip(".").split("=")
    if len(sides) > 2:
        raise NotAnExpression("more than one equals sign")
    if len(sides) == 2 and re.fullmatch(r"\s*[0-9]+\s*", sides[0]):
        sides.reverse()  # "46 = ..."
    value, used = _Parser(sides[0]).whole()
    if len(sides) == 2 and _Parser(sides[1]).whole()[0] != value:
        raise NotAnExpression(f"the equation does not hold: its left side is {value}")
    return value, used


class _Parser:
    """Recursive descent: sum -> product -> factor."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        self.used: list[int] = []
        self.depth = 0
        position, end = 0, len(text.rstrip())
        while position < end:
            token = _TOKEN.match(text, position)
            if token is None:
                raise NotAnExpression(f"{text[position:].split()[0][:20]!r} does not belong in an expression")
            self.tokens.append(token.group(1))
            position = token.end()
        # The next token is then taken off the end, which moves no other.
        self.tokens.reverse()

    def whole(self) -> tuple[Fraction, list[int]]:
        value = self.sum()
        if self.tokens:
            raise NotAnExpression(f"unexpected {self.tokens[-1]!r}")
        return value, self.used

    def next_is(self, *tokens: str) -> bool:
        return bool(self.tokens) and self.tokens[-1] in tokens

    def take(self, token: str) -> None:
        if not self.next_is(token):
            raise NotAnExpression(f"{token!r} is missing")
        self.tokens.pop()

    def sum(self) -> Fraction:
        value = self.product()
        while self.next_is("+", "-"):
            value = value + self.product() if self.tokens.pop() == "+" else value - self.product()
        return value

    def product(self) -> Fraction:
        value = self.factor()
        while self.next_is("*", "/"):
            value = value * self.factor() if self.tokens.pop() == "*" else _ratio(value, self.factor())
        return value

    def factor(self) -> Fraction:
        sign = 1
        while self.next_is("+", "-"):
            sign = -sign if self.tokens.pop() == "-" else sign
        if not self.tokens:
            raise NotAnExpression("the expression ends too early")
        token = self.tokens.pop()
        if token.isdigit():
            self.used.append(int(token))
            return Fraction(sign * int(token))
        if token.endswith("frac"):
            return sign * _ratio(self.group("{", "}"), self.group("{", "}"))
        if token in "({":
            self.tokens.append(token)
            return sign * self.group(token, ")" if token == "(" else "}")
        raise NotAnExpression(f"unexpected {token!r}")

    def group(self, opening: str, closing: str) -> Fraction:
        # Refused here, long before Python's own limit on recursion would end the grading with an error.
        self.depth += 1
        if self.depth > DEEPEST_NESTING:
            raise NotAnExpression(f"brackets nested more than {DEEPEST_NESTING} deep")
        self.take(opening)
        value = self.sum()
        self.take(closing)
        self.depth -= 1
        return value


def _ratio(dividend: Fraction, divisor: Fraction) -> Fraction:
    if not divisor:
        raise NotAnExpression("it divides by zero")
    return dividend / divisor


def _game(answer: Any) -> tuple[Sequence[int], int] | None:
    """(numbers, target), or None where the answer of the problem is not of that shape."""
    if not isinstance(answer, Mapping):
        return None
    numbers, target = answer.get("numbers"), answer.get("target")
    if not isinstance(numbers, list | tuple) or not numbers or not isinstance(target, int):
        return None
    return (numbers, target) if all(isinstance(number, int) for number in numbers) else None
