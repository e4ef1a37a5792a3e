"""LaTeX as math-verify's parser wants it: every argument in brackets, decimals as fractions, degrees as what they are
worth."""

import re

_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_ARGUMENTS = {"\\frac": 2, "\\binom": 2, "\\sqrt": 1, "^": 1, "_": 1}
_CLOSING = {"{": "}", "[": "]", "(": ")"}
_NAMES = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp"
_FUNCTIONS = frozenset("\\" + name for name in _NAMES.split())
_ENDS_ARGUMENT = frozenset([*"+-*)]}|=,", *_FUNCTIONS])
# To sympy, sin 30 is the sine of 30 radians.
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)°")
_SPELLING = str.maketrans({"π": "\\pi ", "*": "\\cdot ", "∞": "\\infty ", "°": "^{\\circ}", "⦃": "\\{", "⦄": "\\}"})


def latex(text: str) -> str:
    """LaTeX for a cleaned scalar. It need not have a meaning; signs that are no LaTeX stay as they are."""
    text = _DEGREES.sub(r"(\1\\cdot\\frac{\\pi}{180})", text)
    tokens = [token for token in _TOKEN.findall(text) if not token.isspace()]
    spelled = " ".join(_braced(tokens))
    # Its parser takes x(y+1) for a function of y + 1.
    return re.sub(r"(?<![A-Za-z\\])([A-Za-zπ]) (?=\()", r"\1 * ", spelled).translate(_SPELLING)


def _braced(tokens: list[str]) -> list[str]:
    found: list[str] = []
    while tokens:
        found += _next(tokens)
    return found


def _next(tokens: list[str]) -> list[str]:
    """The first token, off the list, with the arguments that belong to it."""
    token = tokens.pop(0)
    if token in _CLOSING and token != "[":
        return [token, *_until(tokens, _CLOSING[token])]
    if re.fullmatch(r"\d*\.\d+", token):  # its parser would make a rounded number of it
        whole, part = token.split(".")
        return ["\\frac", "{", whole + part, "}", "{", f"1{'0' * len(part)}", "}"]
    if token in _FUNCTIONS:
        return [token, *_applied(tokens)]
    if token not in _ARGUMENTS:
        return [token]
    found = [token]
    # \sqrt[3]{x}: the degree keeps its square brackets.
    if token == "\\sqrt" and tokens[:1] == ["["]:
        found += [tokens.pop(0), *_until(tokens, "]")]
    for _ in range(_ARGUMENTS[token]):
        if tokens[:1] == ["{"]:
            found += _next(tokens)
        elif tokens:
            found += ["{", *_argument(tokens, whole=token in ("^", "\\sqrt")), "}"]
    return found


def _applied(tokens: list[str]) -> list[str]:
    """What stands behind a function's name: its base and power, and its argument up to the next sign or function, in
    brackets."""
    found: list[str] = []
    while tokens and tokens[0] in ("^", "_"):
        found += _next(tokens)
    if not tokens or tokens[0] in "({[|":
        return found
    argument: list[str] = []
    while tokens and tokens[0] not in _ENDS_ARGUMENT:
        argument += _next(tokens)
    return [*found, "(", *argument, ")"] if argument else found


def _argument(tokens: list[str], *, whole: bool) -> list[str]:
    """An argument without braces: one sign; of a number its first digit, but all of it in an exponent and under a
    root."""
    token = tokens[0]
    if whole and token in "+-":
        return [tokens.pop(0), *(_argument(tokens, whole=True) if tokens else [])]
    if token.isdecimal() and len(token) > 1 and not whole:
        tokens[0] = token[1:]
        return [token[0]]
    return _next(tokens)


def _until(tokens: list[str], end: str) -> list[str]:
    """Everything to the bracket that closes, that one included; to the end where there is none."""
    found: list[str] = []
    while tokens and tokens[0] != end:
        found += _next(tokens)
    return found + ([tokens.pop(0)] if tokens else [])
