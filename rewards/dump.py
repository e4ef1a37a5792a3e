"""`retort grade FILE`: dumps of any model, row by row, to verdicts."""

import contextlib
from collections import Counter
from typing import BinaryIO, TextIO

from rewards.row_pool import Readable, RowPool


def grade_dump(file: Readable, out: BinaryIO, err: TextIO, *, jobs: int = 1) -> Counter[str]:
    """Write graded rows to `out` and errors and a summary to `err`; the count of each verdict, and of "bad rows".

    The rows are graded in `jobs` processes and written in order; one that dies or hangs costs the row that it was at.
    Raises OSError, and WorkerError where no process can be started.
    """
    counts: Counter[str] = Counter()
    seconds = 0.0
    line = 1
    with contextlib.closing(RowPool(jobs)) as pool:
        for batch in pool.grade(file):
            for place, what in batch.bad:
                print(f"line {line + place}: {what}", file=err)
                counts["bad rows"] += 1
            out.writelines(batch.rows)
            # Whoever reads the other end of a pipe sees each batch as soon as it is graded.
            out.flush()
            counts.update(batch.counts)
            seconds += batch.seconds
            line += batch.lines
    total = sum(counts.values()) - counts["bad rows"]
    parts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.most_common())
    print(f"{total} graded in {seconds:.1f} s: {parts or 'nothing'}", file=err)
    return counts


def open_dump(path: str) -> Readable:
    """A file, or standard input for "-", read as it comes."""
    # Unbuffered, so that `read` gives the lines that are there and does not wait until a buffer is full.
    return open(0 if path == "-" else path, "rb", buffering=0, closefd=path != "-")

