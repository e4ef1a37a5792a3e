"""Rows of token ids on disk: made once, the same as in memory, made again where they are torn."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.protocol import Prompting
from pipeline.contract.dataset import parse
from pipeline.contract.errors import StageError
from pipeline.data import tokenized as module
from pipeline.data.rows import document, read_rows, rows
from pipeline.data.tokenized import Tokenized, Wanted, tokenized
from pipeline.disk.locks import Lock
from pipeline.models.tokenizer import train_tokenizer

USER, SAID = {"role": "user", "content": "Tom has 3 apples."}, {"role": "assistant", "content": "So 3."}
ROWS = [{"prompt": "Tom has 3 apples.", "completion": "So 3.", "not_learned": [[0, 2]]}, {"text": "Tom has 3 apples."},
        {"messages": [USER, SAID, USER, SAID]}, {"prompt": [USER, SAID, USER], "completion": [SAID]}]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(["Tom has 3 apples.", "So 3."], 64)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "mine.jsonl", ROWS * 3)


def write(file: Path, content: list[Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in content))
    return file


def quiet(text: str) -> None:
    raise AssertionError(text)


Make = Callable[..., Tokenized]


@pytest.fixture
def make(tmp_path: Path, tokenizer: Any) -> Make:
    def made(wanted: Wanted, using: Any = None) -> Tokenized:
        return tokenized(tmp_path / "cache", using or tokenizer, wanted, quiet)

    return made


def made_folders(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache").iterdir()}


@pytest.mark.parametrize("block", [1, 5, 512])
def test_rows_are_those_that_are_made_in_memory(
    make: Make, data: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    found = make(Wanted(data))
    expected = rows(tokenizer, [document(record) for record in read_rows(data)], prompt_weight=0.25)
    assert [found.row(number, 0.25, 10_000) for number in range(len(found))] == expected
    assert list(found.lengths) == [len(row["input_ids"]) for row in expected]
    assert found.row(2, 0.25, 7) == {name: values[:7] for name, values in expected[2].items()}
    assert [found.first_learned[number] for number in range(4)] == [
        next(place for place, weight in enumerate(row["weights"]) if weight == 1 and place) for row in expected[:4]
    ]


def test_what_the_ids_depend_on_is_in_the_name(make: Make, data: Path, tmp_path: Path) -> None:
    wanted = Wanted(data)
    others = [
        replace(wanted, limit=2), replace(wanted, drop=True),
        replace(wanted, how=Prompting(instruction="So.")),
        replace(wanted, selection=parse("x?completion=prompt").selection, drop=True),
    ]
    for one in (wanted, *others):
        make(one)
    assert len(made_folders(tmp_path)) == 5
    make(wanted)
    make(replace(wanted, path=write(tmp_path / "copy.jsonl", ROWS * 3)))
    assert len(made_folders(tmp_path)) == 5
    make(Wanted(write(data, ROWS)))
    other = train_tokenizer(["Tom has 3 apples.", "So 3.", "no"], 64)
    make(wanted, other)
    other.chat_template = f"{other.chat_template}\n"
    make(wanted, other)
    assert len(made_folders(tmp_path)) == 8


def test_rows_are_made_once(make: Make, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(Wanted(data))
    monkeypatch.setattr(module, "Encoder", None)
    assert make(Wanted(data)).row(0, 0.0, 99) == first.row(0, 0.0, 99)


@pytest.mark.parametrize("spoil", [
    lambda folder: (folder / "about.json").unlink(),
    lambda folder: (folder / "about.json").write_text("{"),
    lambda folder: (folder / "about.json").write_text("{}"),
    lambda folder: (folder / "rows.arrow").unlink(),
    lambda folder: (folder / "rows.arrow").write_bytes((folder / "rows.arrow").read_bytes()[:-40]),
    lambda folder: (folder / "rows.arrow").write_bytes((folder / "rows.arrow").read_bytes().replace(b"\x01", b"\x02")),
])
def test_what_is_torn_is_made_again(make: Make, data: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    first = make(Wanted(data)).row(2, 0.0, 99)
    (folder,) = (tmp_path / "cache").iterdir()
    spoil(folder)
    folder.with_name(f"{folder.name}.making").mkdir()
    assert make(Wanted(data)).row(2, 0.0, 99) == first
    assert made_folders(tmp_path) == {folder.name}


def test_who_comes_second_waits(make: Make, data: Path, tmp_path: Path) -> None:
    make(Wanted(data))
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "about.json").unlink()
    found: list[int] = []
    with Lock(tmp_path / "cache" / f"{folder.name}.lock"):
        threads = [threading.Thread(target=lambda: found.append(len(make(Wanted(data))))) for _ in range(2)]
        for thread in threads:
            thread.start()
        threads[0].join(0.5)
        assert not found
    for thread in threads:
        thread.join()
    assert found == [12, 12]


def test_bad_rows_stop_or_are_counted_with_their_place(make: Make, data: Path, tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be kind."}
    write(data, [ROWS[0], {"messages": [USER]}, {"messages": [system, USER, SAID]}, {"text": ""}, ROWS[1]])
    with pytest.raises(StageError, match=r"mine.jsonl:2: no message is the assistant's"):
        make(Wanted(data))
    found = make(Wanted(data, drop=True))
    assert len(found) == 2
    assert found.dropped == {"no assistant": 1, "template": 1, "empty": 1}
    assert "mine.jsonl:2: no message is the assistant's" in found.first_dropped
    write(data, [ROWS[0], {"messages": [system, USER, SAID]}])
    with pytest.raises(StageError, match=r"mine.jsonl:2: the tokenizer's chat template leaves out message 1, the sys.*"
                                         r" \(bad_rows: drop leaves such rows out\)"):
        make(Wanted(data))
    write(data, [{"messages": [system, USER, SAID]}])
    with pytest.raises(StageError, match=r"no row of .* can be used, such as .*mine.jsonl:1: the tokenizer's chat"):
        make(Wanted(data, drop=True))
    assert not made_folders(tmp_path) - {path.name for path in (tmp_path / "cache").glob("*.making")} - {
        path.name for path in (tmp_path / "cache").iterdir() if (path / "about.json").is_file()
    }


def test_a_limit_leaves_later_rows_unread(make: Make, data: Path) -> None:
    write(data, [*ROWS, {"text": 5}])
    assert len(make(Wanted(data, limit=4))) == 4


def test_a_folder_that_cannot_be_written_is_one_line(tokenizer: Any, data: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StageError, match="rows of token ids cannot be kept in"):
        tokenized(tmp_path / "cache", tokenizer, Wanted(data), quiet)
