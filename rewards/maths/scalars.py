"""Scalars: numbers and expressions, with their units."""

import re
from dataclasses import dataclass

from rewards.maths.algebra import Malformed, Ratio, Unsupported, divide, multiply, rational
from rewards.maths.brackets import split
from rewards.maths.latex import latex
from rewards.maths.parser import GREEK, parse
from rewards.maths.units import split_unit

_BASES = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "sixteen": "16",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """A scalar: a number or an expression. `value` is None where only the oracle can tell what `text`, then LaTeX for
    it, is.

    `digits` is the number of significant digits where it is written as a decimal, `unit` its unit in normal form.
    """

    text: str
    value: Ratio | None
    digits: int | None = None
    percent: bool = False
    unit: str = ""
    name: str = ""


def number(text: str) -> Number:
    """A scalar with its unit. Raises Malformed where it has no value at all."""
    bare, unit, factor, percent = split_unit(text)
    # The base is kept as a unit: 101_2 agrees with 101 without one, and never with 101_3.
    base = re.fullmatch(r"\(?(\d+)\)? ?_ ?\{? ?\(?(\d+|\\text ?\{[a-z]+\})\)? ?\}?", bare)
    if base:
        said = re.sub(r"\\text ?|[{}]", "", base[2])
        bare, unit = base[1], unit or f"base {_BASES.get(said, said)}"
    if not bare:
        raise Malformed("nothing but a unit")
    decimal = re.fullmatch(r"[-+]?\s*(\d*)\.(\d+)", bare)
    # Zeros in front are not significant: 0.00123 has three digits.
    digits = len((decimal[1] + decimal[2]).lstrip("0")) if decimal else None
    value: Ratio | None
    try:
        value = parse(bare)
    except Unsupported:
        _refuse_strangers(bare)
        bare, value = latex(bare if factor == 1 else f"{factor}*({bare})"), None
    if value is not None and factor != 1:
        value = multiply(value, rational(factor))
    if value is not None and percent:
        value = divide(value, rational(100))
    return Number(bare, value, digits, percent, unit)


# Commands that its parser computes. Of others it makes letters, or reads a part of the text and drops the rest.
_ORACLE_COMMANDS = """frac sqrt binom sin cos tan cot sec csc log ln lg exp arcsin arccos arctan sinh cosh tanh lfloor
    rfloor lceil rceil"""
_KNOWN_TO_ORACLE = frozenset(_ORACLE_COMMANDS.split()) | GREEK


def _refuse_strangers(text: str) -> None:
    """Let nothing through to the oracle whose parser might read a part of it and drop the rest."""
    if "\\\\" in text:
        raise Malformed("a new line")
    for name in re.findall(r"\\([A-Za-z]+)", text):
        if name not in _KNOWN_TO_ORACLE:
            raise Malformed(f"\\{name}")
    # Four letters in a row are a word; products of so many letters are hardly ever written without a sign.
    words = re.search(r"[A-Za-z]{4,}", re.sub(r"\\[A-Za-z]+", "", text))
    if words or re.search(r"[^\w\s+\-*/^_!(){}\[\]|\\.°∞]", text):
        raise Malformed("signs that no scalar has")
    split(text, "")
