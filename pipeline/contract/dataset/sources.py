"""The places that rows come from: a file, many files (`parts/*.jsonl`), a folder of files, also as the hub's snapshots
are, and what `save_to_disk` of datasets wrote."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any  # what a column holds only its file knows

from eval import row_files
from eval.row_files import BadRow, Row, RowFileError
from pipeline.contract.dataset.reference import Selection
from rewards.lazy import lazy

with lazy:
    import datasets
    import pyarrow
    import yaml

FILE = "data.jsonl"
"""What a dataset artifact keeps its rows in."""

MOST_FILES = 20_000
"""Files and folders of a dataset at most: whoever names a home or a root is told so and does not wait."""

_ROWS = 1000  # that are Python objects at once


def entries(path: Path, selection: Selection) -> Iterator[tuple[str, Row | BadRow]]:
    """The rows of a place with where each is, a bad one as an entry like the others. Raises RowFileError."""
    if is_saved(path):
        yield from _of_saved(path, selection)
        return
    found = files(path, selection)
    for file in found:
        # A split is a part of one JSON file, or a choice among the files of a folder.
        rows = row_files.entries(file, None if path.is_dir() else selection.split)
        if file.name.lower().endswith(".parquet"):
            rows = ((where, row if isinstance(row, BadRow) else _of_table(row, selection)) for where, row in rows)
        yield from rows


def files(path: Path, selection: Selection) -> list[Path]:
    """The files of a place in their order. Raises RowFileError where there are none, or several splits to choose from.
    """
    if "*" in path.name:
        found = sorted(file for file in path.parent.glob(path.name) if file.is_file())
        if not found:
            raise RowFileError(f"there is no file {path}")
    elif (path / FILE).is_file():
        found = [path / FILE]
    elif path.is_dir():
        return _of_folder(path, selection)
    else:
        found = [path]
    if selection.config is not None:
        raise RowFileError(f"{path} has no configs; leave config={selection.config} away")
    return found


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` of datasets wrote this folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _of_saved(path: Path, selection: Selection) -> Iterator[tuple[str, Row | BadRow]]:
    folder = path
    try:
        if (path / "dataset_dict.json").is_file():
            splits = json.loads((path / "dataset_dict.json").read_bytes())["splits"]
            folder = path / _chosen(path, splits, selection.split)
        elif selection.split is not None:
            raise RowFileError(f"{path} has no splits; leave split={selection.split} away")
        read = datasets.load_from_disk(str(folder)).with_format("arrow")
        number = 0
        for table in read.iter(_ROWS):
            for row in table.to_pylist():
                number += 1
                yield f"{folder}, row {number}", _of_table(row, selection)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pyarrow.ArrowException) as error:
        if isinstance(error, RowFileError):
            raise
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise RowFileError(f"{folder} cannot be read as what save_to_disk of datasets writes ({said})") from error


def _of_table(row: Row, selection: Selection) -> Row:
    """A row with its tools and the calls of them as they were before they became a table, in which each struct has the
    members of all rows: a model would learn calls with the arguments of other tools, which are null."""
    named = {ours: selection.columns.get(ours, ours) for ours in ("messages", "prompt", "completion", "tools")}
    kept = {**row, named["tools"]: _without_nulls(row[named["tools"]])} if named["tools"] in row else dict(row)
    for column in (named["messages"], named["prompt"], named["completion"]):
        if isinstance(kept.get(column), list):
            kept[column] = [{**turn, "tool_calls": _without_nulls(turn["tool_calls"])}
                            if isinstance(turn, dict) and "tool_calls" in turn else turn for turn in kept[column]]
    return kept


def _without_nulls(value: Any) -> Any:
    """What members of objects have to say; a list may hold null."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _of_folder(path: Path, selection: Selection) -> list[Path]:
    if next(itertools.islice(path.rglob("*"), MOST_FILES, None), None) is not None:
        raise RowFileError(f"{path} has no {FILE}, and more than {MOST_FILES:,} files; it is no dataset")
    try:
        # It knows where splits and configs are, by the names of files and by what a README.md says of them.
        builder = datasets.load_dataset_builder(str(path), selection.config)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, yaml.YAMLError) as error:
        said = " ".join(str(error).replace(str(path.resolve()), str(path)).split())[:240]
        raise RowFileError(f"{path} has no {FILE}, and datasets finds no rows in it ({said})") from error
    named = {str(split): [str(file) for file in found] for split, found in (builder.config.data_files or {}).items()}
    away = next((file for found in named.values() for file in found if "://" in file), None)
    if away is not None:
        raise RowFileError(f"{path} names files that are elsewhere, such as {away}; download them")
    splits = {split: [Path(file) for file in found] for split, found in named.items()}
    kept = {file for found in splits.values() for file in found}
    if selection.config is None and not (path / "README.md").is_file():
        # Of files of several kinds it takes the kind that most are of.
        left = [file for file in _shown(path.resolve()) if row_files.is_row_file(file.name) and file not in kept]
        if left:
            raise RowFileError(f"{path} holds files of several kinds, such as {next(iter(kept)).name} and "
                               f"{left[0].name}; give one of them, or put each kind into a folder of its own")
    found = splits[_chosen(path, list(splits), selection.split)]
    other = next((file for file in found if not row_files.is_row_file(file.name)), None)
    if other is not None:
        raise RowFileError(f"{other} is no file of rows ({', '.join(row_files.ENDINGS)})")
    return found


def _shown(folder: Path) -> list[Path]:
    """The files under a folder, none of them hidden."""
    return sorted(file for file in folder.rglob("*")
                  if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _chosen(path: Path, splits: list[str], asked: str | None) -> str:
    if asked is None and len(splits) == 1:
        return splits[0]
    if asked in splits:
        return str(asked)
    said = f"has no split {asked!r}" if asked is not None else "has several splits"
    raise RowFileError(f"{path} {said}; say which of {', '.join(splits)}: {path.name}?split={splits[0]}")
