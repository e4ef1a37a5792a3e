"""Grades rows for `retort grade`. Run as a script by rewards.row_pool, never imported.

A request is lines. The answer is a rewards.rows.Batch of them, in one frame or in several where it takes long.
"""

import os
import select
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # until the search path comes
from rewards.frames import OK, read_frame, write_frame

SILENCE = 0.05
"""Seconds after which what is done is told before the next row is begun."""


def leave_with(requests: int) -> None:
    """End this process as soon as nobody can ask any more, whatever it is at."""
    poll = select.poll()
    poll.register(requests, 0)  # nothing but the hang-up
    poll.poll()
    os._exit(0)


def main() -> None:
    # What a verifier prints or reads is no frame.
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    sys.path[:] = read_frame(requests).decode().split("\0")
    # Not at the top: the verifiers import what is found only on the search path that has just come.
    from rewards.rows import Batch, grade_line

    # A slow row takes minutes. When the command is killed meanwhile, no read tells this thread of it.
    threading.Thread(target=leave_with, args=(requests,), daemon=True).start()
    write_frame(answers, OK, b"ready")
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
