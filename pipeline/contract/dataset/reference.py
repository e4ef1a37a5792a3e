"""How a recipe names a dataset: a place, and behind a question mark what its columns are called and which part is
meant: `mine.parquet?prompt=question&completion=solution`, `org/name@revision?config=main&split=train`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.contract.errors import StageError

COLUMNS = ("prompt", "completion", "text", "messages", "tools", "role", "content")
"""What can be called differently in a file; the last two are keys of a message."""

PARTS = ("config", "split")

_ASKED = re.compile(r"(.+?)\?(\w+=.*)", re.DOTALL)


@dataclass(frozen=True)
class Selection:
    """Which rows of a place, and what their columns are called there. A column of several names joined by `+` is their
    texts, those that are empty left out, with an empty line between them."""

    columns: Mapping[str, str] = field(default_factory=dict)
    config: str | None = None
    split: str | None = None


ALL = Selection()
"""Every row, its columns called as ours are."""


@dataclass(frozen=True)
class DataReference:
    """A dataset as a recipe names it; `place` is a stage, a path or `org/name@revision`."""

    place: str
    selection: Selection = ALL


def parse(reference: str) -> DataReference:
    """The parts of a reference. Raises StageError where what is behind the question mark is none of them."""
    match = _ASKED.fullmatch(reference)
    if match is None:
        return DataReference(reference)
    place, told = match.groups()
    given: dict[str, str] = {}
    for pair in told.split("&"):
        key, sign, value = pair.partition("=")
        if not (sign and value) or key not in (*COLUMNS, *PARTS, "revision") or key in given:
            raise StageError(f"{reference!r}: {pair!r} is no column or part; write {place}?prompt=question&"
                             f"completion=solution, of {', '.join((*COLUMNS, *PARTS, 'revision'))}, each once")
        given[key] = value
    revision = given.pop("revision", None)
    if revision is not None:
        if "@" in place:
            raise StageError(f"{reference!r} names two revisions, {place.partition('@')[2]!r} and {revision!r}")
        place = f"{place}@{revision}"
    config, split = given.pop("config", None), given.pop("split", None)
    return DataReference(place, Selection(given, config, split))
