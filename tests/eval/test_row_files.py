import bz2
import gzip
import json
import lzma
import zipfile
from pathlib import Path

import pyarrow
import pytest

from eval import row_files
from eval.row_files import RowFileError


def rows(path: Path) -> list[row_files.Row]:
    return [row for _, row in row_files.read(path)]


def complaint(path: Path) -> str:
    with pytest.raises(RowFileError) as caught:
        rows(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{path.parent}/", "")


LINES = b'{"a": "caf\xc3\xa9"}\n\n{"a": "\xe2\x80\xa8"}\r\n'


def test_lines_and_their_places(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_bytes(LINES)
    assert list(row_files.read(file)) == [(f"{file}:1", {"a": "café"}), (f"{file}:3", {"a": "\u2028"})]
    file.write_bytes(b"\xef\xbb\xbf" + LINES)
    assert rows(file) == [{"a": "café"}, {"a": "\u2028"}]
    file.write_bytes(b"")
    assert rows(file) == []


def test_zstd_may_begin_with_a_frame_that_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl.zst"
    with pyarrow.CompressedOutputStream(str(file), "zstd") as stream:
        stream.write(LINES)
    for kind in (b"\x50", b"\x5f"):  # as pzstd and seekable zstd write them
        file.with_name("other.jsonl.zst").write_bytes(kind + b"\x2a\x4d\x18\x04\0\0\0abcd" + file.read_bytes())
        assert rows(file.with_name("other.jsonl.zst")) == rows(file)


ZIPPED = gzip.compress(LINES, mtime=0)  # without the time, which would be part of the tests' names


@pytest.mark.parametrize(("written", "said"), [
    (ZIPPED[:-9], "mine.jsonl is compressed with gzip, and broken or cut off (Compressed file ended"),
    (ZIPPED[:14] + b"xxx" + ZIPPED[17:], "is compressed with gzip, and broken or cut off"),
    (bz2.compress(LINES)[:-5], "is compressed with bzip2, and broken or cut off"),
    (lzma.compress(LINES)[:-5], "is compressed with xz, and broken or cut off"),
    (b"\x28\xb5\x2f\xfd\x00", "is compressed with zstd, and broken or cut off"),
    (gzip.compress(b"PAR1", mtime=0), "mine.jsonl is a compressed Parquet file; unpack it first"),
    (gzip.compress(b"a" * 257 + b"ustar", mtime=0), "mine.jsonl is a tar archive; unpack it first: tar -xf mine.jsonl"),
    (b"ARROW1", "mine.jsonl is an Arrow file"),
    (LINES.decode().encode("utf-16"), "mine.jsonl is UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 mine.jsonl"),
    (b'{"a": 1}\n{"a": "caf\xe9"}\n', "mine.jsonl:2 is not UTF-8 (byte 0xe9 at 11); save the file as UTF-8: "
                                      "iconv -f LATIN1 -t UTF-8 mine.jsonl, with CP949"),
    (b'{"a": 1}\n{"a":\n', "mine.jsonl:2 is not JSON: "),
    (b'{"a": 1}\n{"a": 1, "b": 2\r\n', "mine.jsonl:2 is not JSON: Expecting ',' delimiter at column 16"),
    (b'[{"a": 1}]\n', "mine.jsonl:1 is not a JSON object: [{\"a\": 1}]; write one object a line: jq -c '.[]' mine"),
    (b'[\n  {"a": 1}\n]\n', "write one object a line: jq -c '.[]' mine.jsonl"),
    (b'{"a": NaN}\n', "mine.jsonl:1 is not JSON: NaN is no number of JSON"),
    (b"[" * 100_000, "mine.jsonl:1 is nested too deep to be read"),
    (b'{"a": ' + b"9" * 10_000 + b"}", "mine.jsonl:1 is not JSON: Exceeds the limit"),
    (b'"text"\n', 'mine.jsonl:1 is not a JSON object: "text"'),
])
def test_what_is_no_file_of_rows_says_what_to_do(tmp_path: Path, written: bytes, said: str) -> None:
    (tmp_path / "mine.jsonl").write_bytes(written)
    assert said in complaint(tmp_path / "mine.jsonl")


def test_other_kinds_of_files_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("mine.jsonl", LINES)
    assert "is a zip archive" in complaint(tmp_path / "mine.zip")
    (tmp_path / "mine.parquet").write_text("no")
    assert complaint(tmp_path / "mine.parquet").startswith("mine.parquet cannot be read as Parquet")
    (tmp_path / "mac.csv").write_bytes(b"prompt,answer\rq,a\r")
    assert "mac.csv ends its lines with a carriage return, as old Macs did; " in complaint(tmp_path / "mac.csv")
    assert complaint(tmp_path / "none.jsonl") == "none.jsonl cannot be read (No such file or directory)"
    assert complaint(tmp_path / "mine.zip" / "x") .endswith("cannot be read (Not a directory)")


def test_a_file_without_line_ends_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "mine.jsonl").open("wb") as sparse:
        sparse.truncate(2**36)
    assert complaint(tmp_path / "mine.jsonl").startswith("mine.jsonl:1 has more than 67,108,864 bytes in a line")


def test_rows_are_a_stream(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"a": 1}) + "\n{\n")
    assert next(iter(row_files.read(file))) == (f"{file}:1", {"a": 1})
