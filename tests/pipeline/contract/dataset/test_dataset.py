import json
from pathlib import Path

import pytest
from pyarrow import Table, parquet

from pipeline.contract.dataset import MOST_ROWS, glance, records
from pipeline.contract.errors import StageError


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(("line", "said"), [
    ("{", ":2 is not JSON: "),
    ('{"prompt": "a"}', ':2: a row needs "prompt" and "completion", "messages" or "text"; this one has \'prompt\''),
    ("{}", ':2: a row needs "prompt" and "completion", "messages" or "text"; this one has nothing'),
    ('["a", "b"]', ":2 is not a JSON object"),
    ('{"completion": 5}', ":2: 'completion' must be text, not 5"),
    ('{"completion": null, "text": null}', ":2: 'completion' is null"),
    ('{"text": ["a"]}', ":2: 'text' must be text, not ['a']"),
    ('{"prompt": 5, "completion": "a"}', ":2: 'prompt' must be text, not 5"),
    ('{"prompt": "\\ud800", "completion": "a"}', ":2: 'prompt' holds '\\ud800', half of a surrogate pair"),
])
def test_what_is_no_row_is_one_line(tmp_path: Path, line: str, said: str) -> None:
    file = write(tmp_path / "mine.jsonl", '{"completion": "a"}', line)
    with pytest.raises(StageError) as caught:
        list(records(file))
    assert str(caught.value).startswith(f"{file}{said}")
    assert "\n" not in str(caught.value)


def test_what_holds_no_rows_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"mine.jsonl has no rows"):
        list(records(write(tmp_path / "mine.jsonl", "")))
    (tmp_path / "mine.jsonl").unlink()
    with pytest.raises(StageError, match=r"has no data.jsonl, and datasets finds no rows in it"):
        list(records(tmp_path))


def test_a_parquet_file_is_read_like_lines(tmp_path: Path) -> None:
    rows = [{"prompt": None, "completion": "a"}, {"prompt": "b", "completion": "c"}]
    parquet.write_table(Table.from_pylist(rows), tmp_path / "mine.parquet")
    assert list(records(tmp_path / "mine.parquet")) == rows
    assert list(records(write(tmp_path / "mine.jsonl", *map(json.dumps, rows)))) == rows
    parquet.write_table(Table.from_pylist([{"text": "a"}, {"text": None}]), tmp_path / "mine.parquet")
    with pytest.raises(StageError, match=r"mine.parquet, row 2: 'text' is null"):
        list(records(tmp_path / "mine.parquet"))


def test_a_glance_ends_where_it_has_seen_enough(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", *['{"text": "a"}'] * MOST_ROWS, "{")
    glance(file)
    with pytest.raises(StageError, match=f":{MOST_ROWS + 1} is not JSON"):
        list(records(file))
    with pytest.raises(StageError, match=":3 is not JSON"):
        glance(write(tmp_path / "mine.jsonl", '{"text": "a"}', "", "{"))
