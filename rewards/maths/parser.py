"""Reads one cleaned scalar expression into exact algebra, by recursive descent."""

import re
from collections.abc import Callable
from fractions import Fraction

from rewards.maths.algebra import (
    Malformed,
    Ratio,
    TooLarge,
    Unsupported,
    add,
    binomial,
    divide,
    factorial,
    letter,
    multiply,
    negative,
    power,
    rational,
    root,
    square_root,
)
from rewards.maths.numerals import mixed_number, spelled_out

_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|[A-Za-zα-ωπΑ-Ω∞]|[-+*/^_!()\[\]{}|]|\s+|.", re.DOTALL)
_ADJACENT = re.compile(r"(?<![_^])[\d.]\s+[\d.]")
_OPENING = {"(": ")", "{": "}", "[": "]"}


def parse(text: str) -> Ratio:
    """The exact value of a scalar.

    Raises Unsupported where it may have a value that this algebra lacks, Malformed where it has none, TooLarge where
    its value is not worth computing.
    """
    text = spelled_out(text.strip())
    if "∞" in text and not re.fullmatch(r"[-+]?\s*∞", text):
        raise Malformed("a sum with infinity")
    if (mixed := mixed_number(text)) is not None:
        return rational(mixed)
    # Whitespace goes with the tokens, and then "1 2" would be 12.
    if _ADJACENT.search(text):
        raise Malformed("two numbers side by side")
    reader = _Reader([token for token in _TOKEN.findall(text) if not token.isspace()])
    value = reader.sum()
    if reader.peek() is not None:
        raise Malformed(f"unexpected {reader.peek()!r}")
    return value


def is_too_large(text: str) -> bool:
    """Whether a part of a scalar is too large to compute, wherever it stands: the power in a sine of a power, for one.

    What this algebra lacks counts as some letter. Nothing depends on how fast the machine is.
    """
    try:
        _Sizes([token for token in _TOKEN.findall(text) if not token.isspace()]).sum()
    except TooLarge:
        return True
    except (Malformed, Unsupported, RecursionError):  # how large it is cannot be told
        return False
    return False


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self, ahead: int = 0) -> str | None:
        position = self.at + ahead
        return self.tokens[position] if position < len(self.tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise Malformed("the expression breaks off")
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise Malformed(f"{token!r} is missing")

    def sum(self) -> Ratio:
        sign = 1
        while self.peek() in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        value = self.product()
        value = negative(value) if sign < 0 else value
        while self.peek() in ("+", "-"):
            operator = self.take()
            term = self.product()
            value = add(value, negative(term) if operator == "-" else term)
        return value

    def product(self) -> Ratio:
        value = self.signed()
        while True:
            token = self.peek()
            if token == "*":
                self.take()
                value = multiply(value, self.signed())
            elif token == "/":
                self.take()
                value = divide(value, self.signed())
            elif token is not None and self.starts_factor(token):
                # 2(3)^2 and 3!2! are products that people write; 5 2 is none.
                neighbours = self.tokens[self.at - 1], self.peek(1)
                digits = token[0].isdecimal() or token[0] == "."
                if digits and neighbours not in ((")", "^"), ("!", "!")):
                    raise Malformed("a number stands behind a factor without a sign between them")
                value = multiply(value, self.powered())
            else:
                return value

    def signed(self) -> Ratio:
        if self.peek() in ("+", "-"):
            return negative(self.signed()) if self.take() == "-" else self.signed()
        return self.powered()

    def starts_factor(self, token: str) -> bool:
        return token[0].isalnum() or token[0] in "({\\.∞"

    def powered(self) -> Ratio:
        start = self.at
        value = self.atom()
        value = self.mixed(value, start)
        while True:
            token = self.peek()
            if token == "!":
                self.take()
                if self.peek() == "!":
                    raise Unsupported("a double factorial")
                value = self.applied(factorial, value)
            elif token == "^":
                self.take()
                value = self.applied(power, value, self.exponent())
            else:
                return value

    def applied(self, function: Callable[..., Ratio], *values: Ratio) -> Ratio:
        return function(*values)

    def exponent(self) -> Ratio:
        return self.argument(signed=True)

    def mixed(self, value: Ratio, start: int) -> Ratio:
        """`4\\frac{2}{3}`: a whole number right before a proper fraction of whole numbers is one number."""
        if self.at != start + 1 or not self.tokens[start].isdecimal() or self.peek() not in ("\\frac", "{"):
            return value
        # The fraction is read to see what it is, and read again as a factor where it is no part of a mixed number.
        at, tokens = self.at, list(self.tokens)  # reading \frac12 splits a token
        fraction = self.atom()
        part = fraction.constant
        inner = "".join(tokens[at : self.at])
        # {1/2} is how a Unicode fraction is cleaned.
        if re.fullmatch(r"\\frac[\d{}]+|\{\d/\d\}", inner) and part is not None and part != 0:
            if part >= 1:
                raise Malformed("a whole number beside an improper fraction")
            return add(value, fraction)
        self.at, self.tokens = at, tokens
        return value

    def argument(self, *, signed: bool = False, whole: bool = False) -> Ratio:
        """A braced group, or one token: \\frac12 is a half, but \\sqrt13 and 2^13 mean thirteen."""
        token = self.peek()
        if token is None:
            raise Malformed("the expression breaks off")
        if token == "{":
            return self.atom()
        if signed and token in ("-", "+"):
            self.take()
            value = self.argument(signed=True)
            return negative(value) if token == "-" else value
        if token.isdecimal() and len(token) > 1 and not signed and not whole:
            # LaTeX takes one digit; what is left goes back.
            self.tokens[self.at] = token[1:]
            return rational(int(token[0]))
        return self.atom()

    def atom(self) -> Ratio:
        token = self.take()
        if token[0].isdecimal() or token[0] == ".":
            if token == ".":
                raise Malformed("a point and no digits")
            if len(token) > 20_000:
                raise Unsupported("a number of very many digits")
            return rational(Fraction(token if token[0] != "." else "0" + token))
        if token in _OPENING and token != "[":
            value = self.sum()
            self.expect(_OPENING[token])
            return value
        if token == "|":
            value = self.sum()
            self.expect("|")
            number = value.constant
            if number is None:
                raise Unsupported("an absolute value of an expression")
            return rational(abs(number))
        if token[0] == "\\":
            return self.command(token[1:])
        if token.isalpha() or token == "∞":
            if self.peek() == "_":
                self.take()
                return letter(f"{token}_{self.subscript()}")
            return letter(token)
        raise Malformed(f"unexpected {token!r}")

    def subscript(self) -> str:
        if self.peek() != "{":
            return self.take()
        self.take()
        parts = []
        while self.peek() not in ("}", None):
            parts.append(self.take())
        self.expect("}")
        return "".join(parts)

    def command(self, name: str) -> Ratio:
        if name == "frac":
            over = self.argument()
            return divide(over, self.argument())
        if name == "binom":
            upper = self.argument()
            return binomial(upper, self.argument())
        if name == "sqrt":
            if self.peek() == "[":
                self.take()
                degree = self.sum().constant
                self.expect("]")
                if degree is None or degree.denominator != 1 or degree < 2:
                    raise Unsupported("a root of no whole degree")
                return root(self.argument(whole=True), int(degree))
            return square_root(self.argument(whole=True))
        if name in GREEK:
            return letter("\\" + name)
        if name == "text":
            raise Malformed("words in a formula")
        raise Unsupported(f"\\{name}")


class _Sizes(_Reader):
    """Reads on where the algebra lacks something, for the size of what else is there."""

    _HIGHEST = 3
    """Powers in an exponent, one in another: a tower of more is taken for too large, whatever stands in it."""

    def __init__(self, tokens: list[str]) -> None:
        super().__init__(tokens)
        self.unread = 0
        self.height = 0

    def applied(self, function: Callable[..., Ratio], *values: Ratio) -> Ratio:
        try:
            return function(*values)
        except Unsupported:
            return self.unknown()

    def exponent(self) -> Ratio:
        self.height += 1
        if self.height >= self._HIGHEST:
            raise TooLarge("a tower of powers")
        value = super().exponent()
        self.height -= 1
        return value

    def command(self, name: str) -> Ratio:
        if name == "exp":
            return self.exponent()
        try:
            return super().command(name)
        except Unsupported:
            # The base of a logarithm; what the function is of is read as a factor behind it.
            if self.peek() == "_":
                self.take()
                self.argument()
            return self.unknown()

    def unknown(self) -> Ratio:
        self.unread += 1
        return letter(f"?{self.unread}")


_GREEK_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho sigma tau phi varphi "
    "chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega ell hbar"
)
GREEK = frozenset(_GREEK_NAMES.split())
