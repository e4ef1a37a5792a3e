"""Opening a file of rows: what is compressed is read through its decompressor, what is something else is named."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from eval.row_files.types import RowFileError
from rewards.lazy import lazy

with lazy:
    import pyarrow

_COMPRESSED = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd",
    # pzstd and seekable zstd begin with a frame that decompressors pass over.
    **{bytes([kind]) + b"\x2a\x4d\x18": "zstd" for kind in range(0x50, 0x60)},
}
_ENDINGS = (".gz", ".bz2", ".xz", ".zst")
_FOREIGN = (
    (b"PK\x03\x04", "is a zip archive; unpack it first: unzip {name}"),
    (b"\xff\xfe", "is UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 {name}"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 {name}"),
    (b"ARROW1", "is an Arrow file; save it as Parquet, or give the folder that datasets' save_to_disk wrote"),
)
_TAR = 257, b"ustar"
"""Where a tar archive says what it is."""

PARQUET = b"PAR1"


def without_compression(name: str) -> str:
    """A file's name in small letters, without the ending of its compression."""
    name = name.lower()
    return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)


def is_compressed(path: Path) -> bool:
    """Raises OSError."""
    return _compression(path) is not None


def _compression(path: Path) -> str | None:
    with path.open("rb") as file:
        begins = file.read(8)
    return next((kind for mark, kind in _COMPRESSED.items() if begins.startswith(mark)), None)


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """The bytes of a file, decompressed. Raises RowFileError where it is an archive or UTF-16, or its compressed bytes
    are broken; OSError where it cannot be read."""
    kind = _compression(path)
    if kind is None:
        with path.open("rb") as file:
            _refuse_foreign(path, file)
            yield file
        return
    try:
        with cast("io.BufferedReader", io.BufferedReader(_decompressed(path, kind))) as file:
            _refuse_foreign(path, file)
            yield file
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        said = " ".join(str(error).split())
        raise RowFileError(f"{path} is compressed with {kind}, and broken or cut off ({said})") from error


def _decompressed(path: Path, kind: str) -> io.RawIOBase:
    if kind == "zstd":
        stream: io.RawIOBase = pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")
        return stream
    if kind == "gzip":
        return cast("io.RawIOBase", gzip.GzipFile(path))
    return cast("io.RawIOBase", bz2.BZ2File(path) if kind == "bzip2" else lzma.LZMAFile(path))


def _refuse_foreign(path: Path, file: io.BufferedReader) -> None:
    begins = file.peek(512)
    for mark, said in _FOREIGN:
        if begins.startswith(mark):
            raise RowFileError(f"{path} {said.format(name=path.name)}")
    at, mark = _TAR
    if begins[at:].startswith(mark):
        raise RowFileError(f"{path} is a tar archive; unpack it first: tar -xf {path.name}")
