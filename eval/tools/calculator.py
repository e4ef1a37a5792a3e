"""Tool `calculator`: arithmetic, exact."""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from fractions import Fraction
from math import gcd

LONGEST_EXPRESSION = 400
LARGEST_EXPONENT = 64
LARGEST_NUMBER = 10**200
LARGEST_WRITTEN_EXPONENT = 200
"""Behind the e of a number."""
DIGITS = 12
"""Significant digits of a result that has no end as a decimal number."""
_EXACT = Context(prec=2000)
"""More digits than a result can have."""

_ZEROS = re.compile(r"(?<![\w.])0+(?=\d)")
_SEPARATED = re.compile(r"\d,\d")
_EXPONENT = re.compile(r"[eE][-+]?(\d+)$")
_TWO_SIDED: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: lambda one, other: Fraction(one // other), ast.Mod: operator.mod,
}


def calculator(expression: str) -> str:
    """Works out an arithmetic expression.

    Args:
        expression: Numbers with + - * / // % ** and brackets, such as (12 + 3.5) * 4.
    """
    text = expression.replace("\u00d7", "*").replace("\u00f7", "/").replace("\u2212", "-").replace("^", "**")
    if _SEPARATED.search(text):
        raise ValueError(f"{text[:80]!r} has commas in its numbers; leave them out, such as 1000 for 1,000")
    text = _ZEROS.sub("", text).strip()  # Python has no number 07
    if len(text) > LONGEST_EXPRESSION:
        raise ValueError(f"an expression of more than {LONGEST_EXPRESSION} characters")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{expression[:80]!r} is not an arithmetic expression") from error
    return _written(_value(tree.body, text))


def _value(node: ast.expr, text: str) -> Fraction:
    """The value of a part of the expression `text`. Nothing but numbers and signs is looked at, and nothing is run."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        # As it was written: a float would have rounded it.
        return _number(str(ast.get_source_segment(text, node)).replace("_", ""))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = _value(node.operand, text)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp):
        one, other = _value(node.left, text), _value(node.right, text)
        if isinstance(node.op, ast.Pow):
            return _power(one, other)
        if isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod) and not other:
            raise ValueError("it divides by zero")
        if type(node.op) in _TWO_SIDED:
            return _bounded(_TWO_SIDED[type(node.op)](one, other))
    raise ValueError(f"{str(ast.get_source_segment(text, node))[:40]!r} does not belong in an expression")


def _number(written: str) -> Fraction:
    """A number of the expression. One of a few characters such as 1e999999999 would take hours and all memory."""
    exponent = _EXPONENT.search(written)
    if exponent and int(exponent.group(1)) > LARGEST_WRITTEN_EXPONENT:
        raise ValueError("a number that is too large or too small")
    return _bounded(Fraction(written))


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if not base and exponent < 0:
        raise ValueError("it divides by zero")
    if exponent.denominator != 1 or abs(exponent) > LARGEST_EXPONENT:
        raise ValueError(f"an exponent is a whole number of at most {LARGEST_EXPONENT}")
    return _bounded(base ** int(exponent))


def _bounded(value: Fraction) -> Fraction:
    # Before the next step: powers of powers would take more than all memory.
    if max(abs(value.numerator), value.denominator) > LARGEST_NUMBER:
        raise ValueError("a number that is too large")
    return value


def _written(value: Fraction) -> str:
    """A whole number or a decimal; one that does not end has `DIGITS` digits."""
    if value.denominator == 1:
        return str(value.numerator)
    places = _places(value.denominator)
    if places is None:
        return f"{Context(prec=DIGITS).divide(Decimal(value.numerator), Decimal(value.denominator)).normalize():f}"
    return f"{Decimal(value.numerator * 10**places // value.denominator).scaleb(-places, _EXACT):f}"


def _places(denominator: int) -> int | None:
    """Decimal places of a fraction in lowest terms that ends; None of one that does not."""
    places, rest = 0, denominator
    while (shared := gcd(rest, 10)) > 1:
        rest //= shared
        places += 1
    return places if rest == 1 else None
