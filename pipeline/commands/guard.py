"""Our packages have everyday names; this says so in one line where another package of that name hides ours."""

import importlib.util
from pathlib import Path

PACKAGES = ("rewards", "eval", "pipeline", "recipes")


def complaint() -> str:
    """One line on the packages that hide ours, or "". Nothing is imported."""
    home = Path(__file__).resolve().parents[2]
    foreign = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [Path(place).resolve() for place in (spec.submodule_search_locations or [])] if spec else []
        if home / name not in places:
            where = spec.origin if spec else None
            foreign.append(f"{name!r} is {where or 'missing'}" if not places else f"{name!r} comes from {places[0]}")
    if not foreign:
        return ""
    return (f"{'; '.join(foreign)}, which hides Retort's own in {home}; remove it from PYTHONPATH, "
            "or install Retort into a virtual environment of its own")
