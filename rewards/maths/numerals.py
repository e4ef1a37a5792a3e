"""How one number is spelled: separators of thousands, decimal commas, repeating decimals, scientific notation."""

import re
from fractions import Fraction

# A separator of thousands has exactly three digits behind it, no space on either side, and no digit or separator that
# would make it a list.
_COMMAS = re.compile(r"(?<![\d.,])([1-9]\d{0,2}(?:,\d{3})+)(?!\d|,\d)")
_SPACED = re.compile(r"(?<![\d.,])(\d{1,3}(?: \d{3})+)(?!\s?[\d/])")
_MARKED = re.compile(r"(?<![\d.,'’])(\d{1,3}(?:['’]\d{3})+)(?![\d'’])")
_POINTS = re.compile(r"([-+]?[§€£¥]?\s*)(\d{1,3}(?:\.\d{3}){2,}|\d{1,3}(?:\.\d{3})+(?=,\d))(?:,(\d+))?(\s*[§€£¥%]?)")
_DECIMAL_COMMA = re.compile(r"([-+]?[§€£¥]?\s*\d+),(\d+)(\s*[§€£¥%]?)")
_OVERLINED = re.compile(
    r"(?<![\d.])(\d*)\.(\d*)\\(?:overline|bar|dot)\s*(?:\{(\d+)\}|(\d))(?:(\d*)\\dot\s*(?:\{(\d)\}|(\d)))?"
)
_BRACKETED = re.compile(r"([-+]?)(\d+)\.(\d*)\((\d+)\)")
_GOES_ON = re.compile(r"([-+]?)(\d*)\.(\d*?)((\d)\5{2,}|(\d{2,}?)\6+)…")
_SCIENTIFIC = re.compile(r"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)[eE]([+-]?\d{1,4})(?![\d.])")
_MIXED = re.compile(r"([-+]?)\s*(\d+)\s+(\d+)\s*/\s*(\d+)")


def variants(text: str) -> list[str]:
    """A cleaned answer without separators of thousands, in every way that it can be meant, the likeliest first."""
    # Only of short texts: the pattern refers back to what it has found, and over a long one tries very many ways.
    if "…" in text and len(text) <= 60:
        text = _GOES_ON.sub(_going_on, text) if _GOES_ON.fullmatch(text) else text
    if "'" in text or "’" in text:
        text = _MARKED.sub(lambda m: re.sub(r"['’]", "", m[1]), text)
    if " " in text:
        text = _SPACED.sub(lambda m: m[1].replace(" ", ""), text)
    if "." in text and (pointed := _POINTS.fullmatch(text)):
        return [pointed[1] + pointed[2].replace(".", "") + ("." + pointed[3] if pointed[3] else "") + pointed[4]]
    if "," not in text:
        return [text]
    if _COMMAS.search(text):
        return [_COMMAS.sub(_without_commas, text)]
    if decimal := _DECIMAL_COMMA.fullmatch(text):
        point = f"{decimal[1]}.{decimal[2]}{decimal[3]}"
        return [point, text] if may_be_two(text) else [point]
    return [text]


def may_be_two(text: str) -> bool:
    """Whether a cleaned text with a decimal comma can be two answers as well: 1,5 can, 1,05 and 1,5 € cannot."""
    decimal = _DECIMAL_COMMA.fullmatch(text) if "," in text and not _COMMAS.search(text) else None
    # A number is not written with a zero in front.
    return decimal is not None and not re.search(r"[§€£¥%]", text) and not re.match(r"0\d", decimal[2])


def _without_commas(match: re.Match[str]) -> str:
    """The number without its separators; in brackets commas part the items of a tuple, a set or an interval."""
    before = match.string[: match.start()]
    depth = sum(before.count(sign) for sign in "([⦃⟨") - sum(before.count(sign) for sign in ")]⦄⟩")
    return match[1] if depth > 0 else match[1].replace(",", "")


def spelled_out(text: str) -> str:
    """A scalar with repeating decimals as fractions and 1.5e3 as a product."""
    if "." in text:
        text = _OVERLINED.sub(_overlined, text) if "\\" in text else text
        text = _BRACKETED.sub(_bracketed, text) if _BRACKETED.fullmatch(text) else text
    return _SCIENTIFIC.sub(r"(\1*10^{\2})", text)


def mixed_number(text: str) -> Fraction | None:
    """The value of `4 2/3`; None where the text is no such thing."""
    match = _MIXED.fullmatch(text)
    if match is None or int(match[3]) >= int(match[4]):
        return None
    value = int(match[2]) + Fraction(int(match[3]), int(match[4]))
    return -value if match[1] == "-" else value


def _overlined(match: re.Match[str]) -> str:
    cycle = (match[3] or match[4]) + (match[5] or "") + (match[6] or match[7] or "")
    return _repeating(match[1], match[2], cycle)


def _bracketed(match: re.Match[str]) -> str:
    return match[1] + _repeating(match[2], match[3], match[4])


def _going_on(match: re.Match[str]) -> str:
    """0.333… and 0.1212…: what is written three times, or twice if it is longer than a digit, goes on for ever."""
    return match[1] + _repeating(match[2], match[3], match[5] or match[6])


def _repeating(whole: str, fixed: str, cycle: str) -> str:
    # 0.1666.. is (16 - 1) / 90: what the digits with one cycle are worth, less those before the cycle.
    over = int((whole or "0") + fixed + cycle) - int((whole or "0") + fixed)
    return f"(({over})/({(10 ** len(cycle) - 1) * 10 ** len(fixed)}))"
