"""Folders that can be made again at any time, and are made once by whoever needs them first."""

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.disk import durable, locks

Read = TypeVar("Read")


def made_once(
    folder: Path, read: Callable[[Path], Read], make: Callable[[Path], None], torn: tuple[type[Exception], ...]
) -> Read:
    """What `read` finds in a folder, which `make` fills where it is not there or where `read` raises one of `torn` for
    what is in it. Processes that want the same at once wait for the one that makes it. Raises OSError where it cannot
    be written."""
    while True:
        with contextlib.suppress(*torn):
            return read(folder)
        try:
            with locks.Lock(folder.with_name(f"{folder.name}.lock")):
                if not _is_whole(folder, read, torn):
                    _fill(folder, make)
        except locks.Held:
            time.sleep(0.2)


def _is_whole(folder: Path, read: Callable[[Path], Read], torn: tuple[type[Exception], ...]) -> bool:
    try:
        read(folder)
    except torn:
        return False
    return True


def _fill(folder: Path, make: Callable[[Path], None]) -> None:
    making = folder.with_name(f"{folder.name}.making")
    for old in (making, folder):  # what a killed process has left
        shutil.rmtree(old, ignore_errors=True)
    making.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, making, ignore_errors=True)  # when it has its name, there is nothing of this one
        make(making)
        making.rename(folder)
    durable.sync_folder(folder.parent)
