"""Names that an answer may carry besides a letter: lengths, angles, areas, probabilities, ratios and quotients of them.

`|AB| = 1`, `V_1 : V_2 = 11 : 21` and `\\frac{NO}{BO} = \\frac12` state a value and the name of what has it. None of
them is an equation between unknowns, as `x + 2y = 5` is.
"""

import re

_POINT = r"[A-Z](?:_ ?\{? ?\w ?\}?)?'*"
_SEGMENT = rf"{_POINT} ?{_POINT}"
_POINTS = rf"(?:{_POINT} ?){{2,6}}"
_GREEK = r"\\(?:theta|alpha|beta|gamma|phi|varphi|omega)"
_ANGLE = rf"m? ?\\angle ?\{{? ?(?:(?:{_POINT} ?){{1,3}}|\d) ?\}}?"
_ARROW = r"\\(?:vec|overrightarrow|overline|widehat|overarc) ?\{[A-Za-z]{1,2}\}"
_INDEXED = r"[A-Za-z]_ ?(?:\w|\{ ?\w+ ?\})"
_ATOMS = (
    _SEGMENT, rf"\| ?(?:{_SEGMENT}|{_ARROW}|[zA-Z]) ?\|", rf"\\overline ?\{{ ?{_SEGMENT} ?\}}", _ANGLE,
    rf"[A-Z]_ ?\{{? ?(?:\\text ?\{{)?(?:\\triangle ?)?{_POINTS}\}}{{0,2}}", rf"\[ ?{_POINTS}\]",
    rf"\\triangle ?{_POINTS}",
    r"(?:\\mathbb ?\{?)?[PE]\}?\([^()=<>≤≥]+\)",
    rf"\\(?:sin|cos|tan|cot|sec|csc) ?(?:\^ ?\{{?2\}}? ?)?(?:{_ANGLE}|[A-Z]|{_GREEK}) ?",
)  # fmt: skip
_ATOM = re.compile(f"(?:{'|'.join(_ATOMS)})")
_PART = re.compile(f"(?:{'|'.join((*_ATOMS, _INDEXED, '[A-Za-z]'))})")
_OF_TWO = re.compile(r"\\frac ?\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\} ?\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_FUNCTION = re.compile(r"(?<![A-Za-z\\])[f-h]\(([a-z])\)")
LONGEST = 80
"""Characters; no name is longer, and the patterns above take time on long texts."""


def quantity(text: str) -> str:
    """The normal form of a name, in which AB and BA are alike; "" where the text is none."""
    text = text.strip()
    if not text or len(text) > LONGEST:
        return ""
    if _ATOM.fullmatch(text):
        return _normal(text)
    fraction = _OF_TWO.fullmatch(text)
    parts = list(fraction.groups()) if fraction else re.split(r"[:/]", text)
    # A quotient of single letters is a quotient of unknowns; their ratio is a name.
    part = _ATOM if fraction or "/" in text else _PART
    if len(parts) > 1 and all(part.fullmatch(p.strip()) or _indexed(p) for p in parts):
        return "/".join(_normal(p) for p in parts)
    return ""


def _indexed(text: str) -> bool:
    return re.fullmatch(_INDEXED, text.strip()) is not None


def _normal(text: str) -> str:
    bare = re.sub(r"\\(?:overline|overrightarrow|vec|text|triangle|mathbb)|[{}|\s]", "", text)
    points = re.findall(r"[A-Z](?:_\w)?'*", bare)
    # The same segment from either of its ends, the same angle from either of its sides, the same area from any corner.
    if "".join(points) == bare and len(points) == 2:
        return "".join(sorted(points))
    if bare.startswith(("\\angle", "m\\angle")):
        return "∠" + min("".join(points), "".join(reversed(points)))
    return bare


def with_plain_names(text: str) -> tuple[str, str]:
    """(a chain of inequalities with one letter in place of a quantity or of f(x), its name or "" where there is
    none)."""
    functions = {match.group() for match in _FUNCTION.finditer(text)}
    if len(functions) == 1:
        plain = _FUNCTION.sub(" q ", text)
        if not re.search(r"(?<![A-Za-z\\])[a-pr-z](?![A-Za-z])", plain):
            return plain, functions.pop()
    sides = re.split(r"([<>≤≥])", text)
    names = {side: name for side in sides[::2] if (name := quantity(side))}
    if len(names) != 1:
        return text, ""
    ((side, name),) = names.items()
    return text.replace(side, " q "), name
