"""Writing that a crash cannot tear: whole files through a rename, JSONL that survives a torn last line."""

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # JSON: what a key holds only its reader knows

JsonObject = dict[str, Any]
"""An object as JSON has it. `Any`, since its keys decide what is behind them and only its reader knows them."""

JsonMapping = Mapping[str, Any]
"""The same, for who only reads it."""


_OF_HALVES = "backslashreplace"
"""What becomes of half characters, as which Python reads names of files that are not in UTF-8: `\\udce9`, which JSON
reads as the same."""


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole or not at all."""
    # In the same folder, since a rename is one step only within a file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8", errors=_OF_HALVES) as stream:
        json.dump(content, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    # The content is on disk before the name is: a crash leaves the old file or the new one.
    temporary.replace(path)
    sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises OSError, and ValueError for what is no JSON or deeper than Python reads."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def sync_files(folder: Path) -> None:
    """Put the contents of every file under a folder on disk."""
    for file in (path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames and new files inside a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_folder(folder: Path, target: Path, *, through: Path) -> None:
    """Rename a folder, also where the new name is on another file system: it is copied there, in the folder `through`,
    and removed when the copy has got its name. What is at `target` is whole. Raises OSError."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    copy = through / f"{target.name}.{os.getpid()}"
    try:
        shutil.copytree(folder, copy, symlinks=True)
        sync_files(copy)
        copy.rename(target)
    except shutil.Error as error:  # of each file that could not be copied
        _, _, why = error.args[0][0]
        raise OSError(errno.EIO, f"cannot be copied to {target} ({why})", str(folder)) from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    sync_folder(target.parent)
    shutil.rmtree(folder)


def append_row(path: Path, content: Mapping[str, object]) -> None:
    """Append one row; a torn row before it, left by a killed process, is ended first so that it harms no other."""
    with path.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(json.dumps(content, ensure_ascii=False).encode(errors=_OF_HALVES) + b"\n")


def rows(path: Path) -> list[JsonObject]:
    """Every whole row of a JSONL file; torn ones are left out, and a file that is not there has none."""
    if not path.is_file():
        return []
    return [found for line in path.read_bytes().split(b"\n") if (found := row(line))]


def row(line: bytes) -> JsonObject:
    """One line of JSONL; empty for a torn or empty one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    # A torn row can be valid JSON, such as the number at the end of one.
    return found if isinstance(found, dict) else {}
