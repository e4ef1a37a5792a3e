"""`--set zero.steps=40`: one value of a recipe changed from the command line."""

from collections.abc import Container, Hashable, Mapping, Sequence
from pathlib import Path

from pipeline.contract.errors import RecipeError
from pipeline.recipe import strict_yaml
from pipeline.recipe.complaints import shown_value
from pipeline.recipe.header import SETTINGS
from rewards.registry import did_you_mean
from rewards.rules import RULES


def apply(document: strict_yaml.Document, overrides: Sequence[str], start: Path) -> None:
    """Change the document in place. Relative paths in the overrides start from `start`. Raises RecipeError naming the
    --set; whether a field exists is checked later."""
    for override in overrides:
        _apply(document, override, start)


def is_of_setting(override: str, stages: Container[str]) -> str | None:
    """The setting of the top level that an override changes; None where it changes a stage."""
    first, _, rest = override.partition("=")[0].partition(".")
    # A stage may be called like a setting, such as "name"; with a field behind it, the stage is meant.
    return first if first in SETTINGS and not (rest and first in stages) else None


def said_in_full(override: str, start: Path) -> str:
    """An override with what its relative paths lead to; the same text where there is none in it."""
    key, _, text = override.partition("=")
    value = strict_yaml.value(text)
    full = _absolute(value, start)
    return override if full == value else f"{key}={full}"


def _apply(document: strict_yaml.Document, override: str, start: Path) -> None:
    origin = f"--set {override}"
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"{origin}: write --set stage.field=value or --set seed=1")
    try:
        value = strict_yaml.value(text)
    except strict_yaml.YamlError as error:
        raise RecipeError(f"{origin}: the value {error}") from error
    where = _where(document, key, origin)
    target = document.data
    for part in where[:-1]:
        target = target.setdefault(part, {}) if isinstance(target, dict) else target[part]
        if not isinstance(target, dict | list):
            raise RecipeError(f"{origin}: {part!r} holds {shown_value(target)}, which has no fields")
    if isinstance(target, list) and not isinstance(where[-1], int):
        raise RecipeError(f"{origin}: {where[-1]!r} is not a position in a list of {len(target)}")
    target[where[-1]] = _absolute(value, start)
    # What is complained of from here on was written on the command line, not in the file.
    for place in [place for place in document.places if place[: len(where)] == where]:
        del document.places[place]
    document.places[where] = origin


def _where(document: strict_yaml.Document, key: str, origin: str) -> tuple[Hashable, ...]:
    first, _, rest = key.partition(".")
    stages = document.data.get("stages") if isinstance(document.data, dict) else None
    stages = stages if isinstance(stages, dict) else {}
    if is_of_setting(key, stages):
        where: list[Hashable] = [first]
        block: object = document.data.get(first)
    elif first not in stages:
        raise RecipeError(f"{origin}: there is no stage {first!r}{did_you_mean(first, [*stages, *SETTINGS])}")
    elif not rest:
        raise RecipeError(f"{origin}: write which field of stage {first!r}, such as {first}.threads=2")
    else:
        where, block = ["stages", first], stages[first]
    while rest:
        part, rest = _next_part(rest, block)
        where.append(part)
        if isinstance(block, Mapping):
            block = block.get(str(part))
        elif isinstance(block, list) and isinstance(part, int):
            block = block[part]
        else:
            block = None
    return tuple(where)


def _next_part(rest: str, block: object) -> tuple[Hashable, str]:
    """A key that the block already has may contain dots itself, such as a file's name."""
    if isinstance(block, Mapping):
        for known in sorted(map(str, block), key=len, reverse=True):
            if rest == known or rest.startswith(known + "."):
                return known, rest[len(known) + 1:]
    part, _, rest = rest.partition(".")
    if isinstance(block, list) and part.isdigit() and int(part) < len(block):
        return int(part), rest
    return part, rest


def _absolute(value: object, start: Path) -> object:
    """Paths on the command line start from the current folder, unlike those in a recipe, which start from its own;
    also those in lists, and the keys of mappings, which rules are named by. A name without an ending or a bar may be a
    stage's, and stays."""
    if isinstance(value, list):
        return [_absolute(one, start) for one in value]
    if isinstance(value, dict):
        return {_absolute(key, start): _absolute(one, start) for key, one in value.items()}
    return _with_full_paths(value, start) if isinstance(value, str) else value


def _with_full_paths(text: str, start: Path) -> str:
    """A reference with its path, and with that of the verifier that is named of a file's rows."""
    prefix, colon, bare = text.partition(":")
    if colon and prefix in RULES.prefixes:
        return f"{prefix}:{_with_full_paths(bare, start)}"
    file, mark, told = text.partition("?")
    place, colon, behind = file.partition(":")
    if not place.startswith(("/", "~")) and ("/" in place or place.startswith(".") or Path(place).suffix) \
            and _is_there(start / place):
        place = str((start / place).resolve())
    if mark:
        told = "&".join(_of_rows(pair, start) for pair in told.split("&"))
    return f"{place}{colon}{behind}{mark}{told}"


def _of_rows(pair: str, start: Path) -> str:
    ours, sign, verifier = pair.partition("=")
    return f"{ours}{sign}{_with_full_paths(verifier, start)}" if sign and ours == "verifier" else pair


def _is_there(path: Path) -> bool:
    """Whether there is such a path, or a file that its last part is a pattern of."""
    try:
        return path.exists() or ("*" in path.name and next(path.parent.glob(path.name), None) is not None)
    except (OSError, ValueError):  # a prompt may be longer than any name, and its asterisks no pattern
        return False
