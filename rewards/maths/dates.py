"""Dates: days of the calendar, which are no quotients and no differences of numbers."""

import re

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTH = "|".join([*_MONTHS, *(rf"{name[:3]}\.?" for name in _MONTHS), r"sept\.?"])
_BEGINNINGS = frozenset(name[:3] for name in _MONTHS)
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_SPELLED = (
    re.compile(rf"(?P<month>{_MONTH}) {_DAY}(?:,? (\d{{4}}))?", re.IGNORECASE),
    re.compile(rf"{_DAY} (?:of )?(?P<month>{_MONTH})(?:,? (\d{{4}}))?", re.IGNORECASE),
)
_YEAR_LAST = re.compile(r"(\d{1,2})(?:([/.-])(\d{1,2})\2(\d{4})|/(\d{1,2})/(\d{2}))")
_YEAR_FIRST = re.compile(r"(\d{4})([/.-])(\d{1,2})\2(\d{1,2})")


def date(text: str) -> str:
    """The normal form of a date, "" where the text is none. Dates in numbers alone are equal where they are written in
    the same order, since nobody can tell 1/2 of two countries apart."""
    counted = text[:1].isdigit()
    if not counted:
        # Most answers are no dates: nothing is looked for in what begins with no month.
        named = text[:3].casefold() in _BEGINNINGS or text.startswith("\\text")
        return _spelled(text) if named else ""
    if numeric := _YEAR_LAST.fullmatch(text):
        first, second = int(numeric[1]), int(numeric[3] or numeric[5])
        return f"{first}/{second}/{numeric[4] or numeric[6]}" if _on_a_calendar(first, second) else ""
    if numeric := _YEAR_FIRST.fullmatch(text):
        first, second = int(numeric[3]), int(numeric[4])
        return f"{numeric[1]}/{first}/{second}" if _on_a_calendar(first, second) else ""
    return _spelled(text) if " " in text else ""


def _spelled(text: str) -> str:
    plain = re.sub(r"\\text ?|[{}^]", "", text) if "\\text" in text else text
    for pattern in _SPELLED:
        if spelled := pattern.fullmatch(plain):
            day, year = (group for group in spelled.groups() if group != spelled["month"])
            return f"{spelled['month'][:3].casefold()} {int(day)}" + (f" {year}" if year else "")
    return ""


def _on_a_calendar(first: int, second: int) -> bool:
    return 1 <= min(first, second) <= 12 and max(first, second) <= 31
