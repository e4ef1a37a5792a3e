"""The places that rows come from, and each with its bad twin."""

import gzip
import json
import os
from pathlib import Path

import pytest

from pipeline.contract.dataset import parse, records
from pipeline.contract.errors import StageError

ROWS = [{"prompt": f"{n} + 1?", "completion": str(n + 1)} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def read(folder: Path, reference: str) -> list[str]:
    told = parse(reference)
    return [record["completion"] for record in records(folder / told.place, told.selection)]


def complaint(folder: Path, reference: str) -> str:
    with pytest.raises(StageError) as caught:
        read(folder, reference)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def write(file: Path, text: str = LINES) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_files_of_every_format_hold_the_same_rows(tmp_path: Path) -> None:
    from pyarrow import CompressedOutputStream, Table, parquet

    write(tmp_path / "a.jsonl")
    write(tmp_path / "a.json", json.dumps(ROWS, indent=1))
    write(tmp_path / "lines.json")
    write(tmp_path / "object.json", json.dumps({"version": 1, "data": ROWS, "tags": ["a"]}))
    write(tmp_path / "a.csv", "prompt,completion\n" + "".join(f'"{n} + 1?",{n + 1}\n' for n in range(3)))
    write(tmp_path / "a.tsv", "prompt\tcompletion\r\n" + "".join(f"{n} + 1?\t{n + 1}\r\n" for n in range(3)))
    parquet.write_table(Table.from_pylist(ROWS), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    with CompressedOutputStream(str(tmp_path / "a.csv.zst"), "zstd") as file:
        file.write((tmp_path / "a.csv").read_bytes())
    for file in sorted(tmp_path.iterdir()):
        assert read(tmp_path, file.name) == ["1", "2", "3"], file.name


def test_a_call_of_a_tool_in_a_table_has_no_arguments_of_other_tools(tmp_path: Path) -> None:
    from datasets import Dataset

    def called(tool: str, argument: str, told: object) -> dict[str, object]:
        schema = {"type": "object", "properties": {argument: {"type": "string", "description": "what"}}}
        call = {"type": "function", "function": {"name": tool, "arguments": {argument: told}}}
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
        return {"turns": turns, "tools": [{"type": "function", "function": {"name": tool, "parameters": schema}}]}

    # Each struct of a table has the members of all rows, null where they are another tool's.
    rows = [called("add", "numbers", [3, None]), called("search", "words", "Rome")]
    Dataset.from_list(rows).to_parquet(tmp_path / "a.parquet")
    Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for place in ("a.parquet", "saved", "a.jsonl"):
        told = parse(f"{place}?messages=turns")
        assert [{"turns": one["messages"], "tools": one["tools"]}
                for one in records(tmp_path / place, told.selection)] == rows, place


def test_null_that_a_line_says_is_kept(tmp_path: Path) -> None:
    call = {"function": {"name": "days", "arguments": {"count": None}}}
    row = {"messages": [{"role": "assistant", "content": "", "tool_calls": [call]}]}
    write(tmp_path / "a.jsonl", json.dumps(row))
    [found] = records(tmp_path / "a.jsonl")
    assert found["messages"] == row["messages"]


def test_several_files_by_a_pattern(tmp_path: Path) -> None:
    for part in (2, 1):
        write(tmp_path / f"part-{part}.jsonl", json.dumps({"text": f"of {part}"}) + "\n")
    write(tmp_path / "other.jsonl")
    assert read(tmp_path, "part-*.jsonl") == ["of 1", "of 2"]
    assert complaint(tmp_path, "none-*.jsonl") == "there is no file none-*.jsonl"
    assert complaint(tmp_path, "part-1.jsonl?config=main") == "part-1.jsonl has no configs; leave config=main away"
    assert complaint(tmp_path, "part-1.jsonl?split=train") == "part-1.jsonl has no parts; leave split=train away"


def test_a_list_of_an_object_is_chosen_by_split(tmp_path: Path) -> None:
    write(tmp_path / "a.json", json.dumps({"train": ROWS[:2], "test": ROWS[2:]}))
    assert read(tmp_path, "a.json?split=test") == ["3"]
    assert complaint(tmp_path, "a.json").endswith("several lists of rows, 'train' and 'test'; say which: "
                                                  "a.json?split=train")
    assert "a.json has no list of rows 'dev'" in complaint(tmp_path, "a.json?split=dev")


def test_a_folder_of_files_with_splits_and_configs(tmp_path: Path) -> None:
    write(tmp_path / "a" / "one.jsonl")
    (tmp_path / "a" / "sub").mkdir()
    (tmp_path / "a" / "sub" / "two.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    assert sorted(read(tmp_path, "a")) == ["1", "1", "2", "2", "3", "3"]
    write(tmp_path / "b" / "train.jsonl")
    write(tmp_path / "b" / "test.jsonl", '{"text": "held out"}\n')
    assert read(tmp_path, "b?split=test") == ["held out"]
    assert complaint(tmp_path, "b").endswith("b has several splits; say which of train, test: b?split=train")
    assert "has no split 'dev'" in complaint(tmp_path, "b?split=dev")
    write(tmp_path / "c" / "README.md", "---\nconfigs:\n- config_name: main\n  data_files: main.jsonl\n"
                                        "- config_name: socratic\n  data_files: other.jsonl\n---\n")
    write(tmp_path / "c" / "main.jsonl")
    write(tmp_path / "c" / "other.jsonl", '{"text": "why?"}\n')
    assert read(tmp_path, "c?config=main") == ["1", "2", "3"]
    assert read(tmp_path, "c?config=socratic&split=train") == ["why?"]
    assert "available configs: ['main', 'socratic']" in complaint(tmp_path, "c")


def test_a_folder_that_holds_something_else_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "datasets finds no rows in it" in complaint(tmp_path, "empty")
    write(tmp_path / "texts" / "a.txt", "hello")
    assert "texts/a.txt is no file of rows (.jsonl," in complaint(tmp_path, "texts")
    write(tmp_path / "mixed" / "a.jsonl")
    write(tmp_path / "mixed" / "b.csv", "text\na\n")
    assert "holds files of several kinds, such as a.jsonl and b.csv" in complaint(tmp_path, "mixed")
    assert complaint(tmp_path, "none.jsonl").startswith("none.jsonl is not there")
    for folder, said in (("configs: [1", "expected ',' or ']'"), ("configs: 5", "datasets finds no rows in it"), (
        "configs:\n- config_name: default\n  data_files: http://127.0.0.1:9/a.jsonl", ""
    )):
        write(tmp_path / "odd" / "README.md", f"---\n{folder}\n---\n")
        write(tmp_path / "odd" / "a.jsonl")
        assert said in complaint(tmp_path, "odd")
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert complaint(tmp_path, "pipe.jsonl") == "pipe.jsonl is no file of rows"


def test_a_folder_of_everything_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.contract.dataset.sources.MOST_FILES", 3)
    for n in range(5):
        write(tmp_path / "home" / f"{n}.jsonl")
    assert complaint(tmp_path, "home") == "home has no data.jsonl, and more than 3 files; it is no dataset"


def test_what_save_to_disk_wrote(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = Dataset.from_list(ROWS)
    rows.save_to_disk(str(tmp_path / "one"))
    DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(str(tmp_path / "two"))
    assert read(tmp_path, "one") == ["1", "2", "3"]
    assert read(tmp_path, "two?split=test") == ["2"]
    assert complaint(tmp_path, "two").endswith("has several splits; say which of train, test: two?split=train")
    assert complaint(tmp_path, "one?split=train") == "one has no splits; leave split=train away"
    for file in (tmp_path / "one").glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:100])
    assert "one cannot be read as what save_to_disk of datasets writes" in complaint(tmp_path, "one")
    (tmp_path / "two" / "dataset_dict.json").write_text("[")
    assert "two cannot be read as what save_to_disk of datasets writes" in complaint(tmp_path, "two?split=test")


def test_text_keeps_what_only_python_takes_for_line_ends(tmp_path: Path) -> None:
    odd = "a\u2028b\u2029c\x85d\x0be\r\nf"
    write(tmp_path / "a.jsonl", json.dumps({"text": odd}, ensure_ascii=False) + "\r\n")
    assert read(tmp_path, "a.jsonl") == [odd]
    (tmp_path / "a.csv").write_bytes(f'text,n\r\n"{odd}",1\r\n'.encode())
    assert read(tmp_path, "a.csv") == [odd]


def test_bad_rows_are_told_to_who_wants_to_hear_of_them(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"text": "a"}\n{\n{"text": ""}\n{"text": "b"}\n5\n')
    heard: list[str] = []
    found = list(records(tmp_path / "a.jsonl", bad=lambda row: heard.append(row.reason)))
    assert [row["completion"] for row in found] == ["a", "b"]
    assert heard == ["not JSON", "empty", "not an object"]
    write(tmp_path / "a.jsonl", '{"a"\n{\n')
    with pytest.raises(StageError, match=r"no row of .*a.jsonl can be used, such as .*a.jsonl:1 is not JSON"):
        list(records(tmp_path / "a.jsonl", bad=lambda _: None))
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": "caf\xe9"}\n')  # not one row's fault
    with pytest.raises(StageError, match=r"a.jsonl:2 is not UTF-8"):
        list(records(tmp_path / "a.jsonl", bad=lambda _: None))
