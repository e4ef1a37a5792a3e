"""Rows graded in processes that may die: lines in, batches of verdicts out, in order, as they come."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from rewards.frames import LATE, OK
from rewards.rows import Batch, RowError
from rewards.workers import Worker

READ = 1 << 18
"""Bytes that are read at once, at most. A line that has come is not kept waiting for others."""

FIRST, MOST = 8, 1024
"""Lines that a process is given at once: at first, so that a short file of slow rows is shared, and at most."""

QUICK, SLOW = 0.025, 0.1
"""Seconds. Processes that answer sooner are given twice as many lines, later half as many."""

AHEAD = 64
"""Requests for each process that may be read before the first of them is answered: a slow row holds nobody else up."""

SECONDS_A_ROW = 660.0
"""When a process that grades rows is given up; verifiers of ours have deadlines of their own, at most ten minutes."""


class Readable(Protocol):
    """An unbuffered file, so that `read` gives what is there; no bytes at its end."""

    def read(self, size: int, /) -> bytes | None: ...


class RowPool:
    """`jobs` processes that grade rows; each starts when there is something for it."""

    def __init__(self, jobs: int) -> None:
        script = Path(__file__).parent / "row_process.py"
        self._workers = [Worker(script, search_path=True, trusted=True) for _ in range(jobs)]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(jobs)
        self._room = threading.Semaphore(AHEAD * jobs)
        self._lock = threading.Lock()
        self._closed = False
        self._at_once = FIRST

    def grade(self, file: Readable) -> Iterator[Batch]:
        """What becomes of the lines, in order. A row whose process dies or hangs is a bad one, and costs itself alone.

        Raises what reading the file raises, and WorkerError where no process can be started.
        """
        asked: SimpleQueue[Future[list[Batch]] | None] = SimpleQueue()
        # A daemon, since nobody can end a thread that waits for a line which does not come.
        threading.Thread(target=self._feed, args=(file, asked), daemon=True).start()
        while (future := asked.get()) is not None:
            yield from future.result()
            self._room.release()

    def close(self) -> None:
        """End everything, also in the middle: nobody waits for rows that nobody will read."""
        with self._lock:
            self._closed = True
            self._threads.shutdown(wait=False, cancel_futures=True)
        # Whoever reads the file may be waiting for room: it wakes, finds that all is closed, and returns.
        self._room.release()
        for worker in self._workers:
            worker.retire()
        self._threads.shutdown()
        for worker in self._workers:
            worker.kill()

    def _feed(self, file: Readable, asked: "SimpleQueue[Future[list[Batch]] | None]") -> None:
        """Have the lines graded as they come. The future of every request goes to `asked`, and None at the end."""
        try:
            for lines in whole_lines(file):
                given = 0
                while given < len(lines):
                    self._room.acquire()
                    some = lines[given : given + self._at_once]
                    given += len(some)
                    with self._lock:
                        if self._closed:
                            return
                        asked.put(self._threads.submit(self._graded, some))
        except (OSError, MemoryError) as error:
            # It is told where the rows are waited for. A file without line ends is one line, however long it is.
            failed: Future[list[Batch]] = Future()
            failed.set_exception(error)
            asked.put(failed)
        asked.put(None)

    def _graded(self, lines: list[bytes]) -> list[Batch]:
        """The lines graded by a process that is idle; as many threads as processes call this, so there is one.

        Where it dies or hangs, what is left goes line by line, so that the fault is found.
        """
        batches: list[Batch] = []
        done, at_once = 0, len(lines)
        began = time.monotonic()
        worker = self._idle.get()
        try:
            while done < len(lines):
                some = lines[done : done + at_once]
                end = done + len(some)
                status, payload = worker.ask(b"\n".join(some), SECONDS_A_ROW)
                while status == OK:
                    batches.append(Batch.unpacked(payload))
                    done += batches[-1].lines
                    if done == end:
                        break
                    status, payload = worker.more(SECONDS_A_ROW)
                if status != OK and len(some) == 1:
                    batches.append(Batch())
                    batches[-1].add(
                        RowError(f"the process that graded this row {'hung' if status == LATE else 'died'}")
                    )
                    done += 1
                at_once = at_once if status == OK else 1
        finally:
            self._idle.put(worker)
        # Many quick rows at once save switches between processes; few slow ones leave none of the processes idle.
        seconds = time.monotonic() - began
        if seconds > SLOW:
            self._at_once = max(1, len(lines) // 2)
        elif seconds < QUICK:
            self._at_once = min(MOST, max(self._at_once, 2 * len(lines)))
        return batches


def whole_lines(file: Readable) -> Iterator[list[bytes]]:
    """The lines of a file without their ends, as many at once as are there."""
    begun: list[bytes] = []
    while part := file.read(READ):
        first, *others = part.split(b"\n")
        begun.append(first)
        if others:
            *whole, rest = b"".join(begun), *others
            begun = [rest]
            yield whole
    if any(begun):
        yield [b"".join(begun)]
