"""Grades rows for `retort grade`. Run as a script by rewards.row_pool, never imported.

A request is lines. The answer is a rewards.rows.Batch of them, in one frame or in several where it takes long.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # until the search path comes
from rewards.frames import OK, read_frame, write_frame
from rewards.pipe_ends import begin, ready

SILENCE = 0.05
"""Seconds after which what is done is told before the next row is begun."""


def main() -> None:
    requests, answers = begin()
    # Not at the top: the verifiers import what is found only on the search path that has just come.
    from rewards.rows import Batch, grade_line

    ready(requests, answers)
    while True:
        lines = read_frame(requests)[8:].split(b"\n")
        batch = Batch()
        told = time.monotonic()
        for left in range(len(lines) - 1, -1, -1):
            batch.add(grade_line(lines[-left - 1]))
            if not left or time.monotonic() - told > SILENCE:
                write_frame(answers, OK, batch.packed())
                batch, told = Batch(), time.monotonic()


if __name__ == "__main__":
    main()
