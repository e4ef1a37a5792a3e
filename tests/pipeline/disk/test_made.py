"""Folders that are made once, by whoever needs them first."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.disk.made import made_once


def test_many_who_want_the_same_at_once_make_it_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "text").write_text("whole")

    def read(folder: Path) -> str:
        return (folder / "text").read_text()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: made_once(tmp_path / "it", read, make, (OSError,)), range(4)))
    assert found == ["whole"] * 4
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["it"]


def test_what_is_torn_is_made_again_and_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def read(folder: Path) -> int:
        return int((folder / "number").read_text())

    def fail(folder: Path) -> None:
        (folder / "number").write_text("3")
        raise RuntimeError("half done")

    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "number").write_text("torn")
    with pytest.raises(RuntimeError, match="half done"):
        made_once(tmp_path / "it", read, fail, (OSError, ValueError))
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]

    def make(folder: Path) -> None:
        (folder / "number").write_text("4")

    assert made_once(tmp_path / "it", read, make, (OSError, ValueError)) == 4
