"""Where problem files come from: the folder that --data or RETORT_DATA names, otherwise the hub.

The files in the folder carry the columns of the hub's data sets, so one loader reads both.
"""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from eval import row_files
from eval.errors import ProblemSetError
from eval.problems.split import require_split
from eval.row_files import Row, RowFileError, require_text
from rewards.lazy import lazy

with lazy:
    from datasets import load_dataset
    from huggingface_hub import HfApi, constants, errors

VARIABLE = "RETORT_DATA"


def use_data_folder(folder: Path) -> None:
    """Read problem files from this folder, in this process and in those that it starts (what --data does)."""
    if not folder.is_dir():
        raise ProblemSetError(f"the data folder {folder} does not exist")
    # The environment reaches the processes of stages, and a resolved path holds whatever their current folder.
    os.environ[VARIABLE] = str(folder.resolve())


def data_folder() -> Path | None:
    """The folder in use, or None. Raises ProblemSetError where RETORT_DATA names no folder."""
    named = os.environ.get(VARIABLE, "")
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise ProblemSetError(f"{VARIABLE} names the folder {folder}, which does not exist")
    return folder


def is_in_data_folder(name: str, split: str) -> bool:
    """Whether the data folder holds a file of this data set, for this split or for all of them. Raises as
    `data_folder` does."""
    folder = data_folder()
    return folder is not None and any((folder / file).is_file() for file in (f"{name}.jsonl", f"{name}_{split}.jsonl"))


@dataclass(frozen=True)
class Source:
    """One data set: `name`_`split`.jsonl in the data folder, or `repository` (and `config`) on the hub.

    `hub_split` is what the hub calls the only split, where it calls it something else. With `whole` the folder holds
    one file `name`.jsonl for all splits, and `rows` returns all of it.
    """

    name: str
    repository: str
    splits: tuple[str, ...]
    columns: tuple[str, ...]
    config: str | None = None
    whole: bool = False
    hub_split: str | None = None
    text: tuple[str, ...] = ()
    """The columns that hold text, which a file of one's own may not."""

    def file(self, split: str) -> Path | None:
        """The local file of this split, or None where the data folder is not set or does not hold it."""
        folder = data_folder()
        path = folder / self._file_name(split) if folder else None
        return path if path and path.is_file() else None

    def rows(self, split: str) -> list[Row]:
        """All rows, in the order of the source. Raises ProblemSetError where they cannot be had."""
        require_split(self.name, split, self.splits)
        path = self.file(split)
        rows = read_rows(path) if path else self._from_hub(split)
        where = str(path or self.repository)
        try:
            for number, row in enumerate(rows, 1):
                require_columns(row, self.columns, f"{where}, row {number}")
                for column in self.text:
                    require_text(row[column], column, f"{where}, row {number}")
        except RowFileError as error:
            raise ProblemSetError(str(error)) from error
        return rows

    def _file_name(self, split: str) -> str:
        return f"{self.name}.jsonl" if self.whole else f"{self.name}_{split}.jsonl"

    def _from_hub(self, split: str) -> list[Row]:
        missing = self._file_name(split)
        hint = f"put {missing} into a folder and name it with --data or {VARIABLE}"
        if (folder := data_folder()) is not None:
            hint = f"{folder} does not hold {missing} either"
        # Looked for and not imported, so that a missing package is told apart from one that does not load.
        if importlib.util.find_spec("datasets") is None:
            raise ProblemSetError(f"{self.repository} needs the package datasets, or {hint}")
        if not constants.HF_HUB_OFFLINE:  # ask first: datasets itself retries for half a minute, noisily
            try:
                HfApi().dataset_info(self.repository, timeout=10)
            except (errors.HTTPError, OSError) as error:
                raise ProblemSetError(
                    f"the hub cannot be reached for {self.repository} ({_line(error)}); {hint}; "
                    "if it is in the hub's cache, set HF_HUB_OFFLINE=1"
                ) from error
        try:
            return [dict(row) for row in load_dataset(self.repository, self.config, split=self.hub_split or split)]
        except (OSError, ValueError) as error:
            raise ProblemSetError(f"{self.repository} cannot be read ({_line(error)}); {hint}") from error


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSONL or Parquet file; empty lines are skipped. Raises ProblemSetError with the file and line."""
    try:
        return [row for _, row in row_files.read(path)]
    except RowFileError as error:
        raise ProblemSetError(str(error)) from error


def require_columns(row: Row, columns: tuple[str, ...], where: str) -> None:
    """Raise ProblemSetError, naming what is there, unless the row has all of the columns."""
    absent = [column for column in columns if column not in row]
    if absent:
        raise ProblemSetError(f"{where} has no column {absent[0]!r}; it has {', '.join(map(repr, row))}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
