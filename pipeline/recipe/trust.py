"""Whose plug-ins are run: those in folders that a person has run recipes from.

A folder of runs may come from anyone, and looking at it is not to run what is in it. `retort run` runs what a recipe
names and remembers the folders; `plan`, `status` and `clean` run plug-ins from folders that are remembered and from no
other. What is installed is never asked about.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.disk import durable


def is_trusted(file: Path) -> bool:
    """Whether a plug-in's file lies in a remembered folder, however deep."""
    known = set(_remembered())
    return any(str(folder) in known for folder in file.resolve().parents)


def remember(folders: Iterable[Path]) -> None:
    """Trust plug-ins in these folders from now on."""
    known = _remembered()
    new = [str(folder.resolve()) for folder in folders]
    if set(new) <= set(known):
        return
    place = _place()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        durable.write_json(place, list(dict.fromkeys([*known, *new])))
    except OSError:  # no home to write to, as in a container: `plan --trust` and `run` work all the same
        return


def _remembered() -> list[str]:
    try:
        found = json.loads(_place().read_bytes())
    except (OSError, ValueError):  # none yet, or torn: nothing is trusted
        return []
    return [folder for folder in found if isinstance(folder, str)] if isinstance(found, list) else []


def _place() -> Path:
    """Outside of every folder of runs, where only the person writes (the XDG base directory specification)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state else Path.home() / ".local" / "state") / "retort" / "trusted.json"
