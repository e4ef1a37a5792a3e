"""The pipes of a script that a `Worker` runs, taken out of the way of the code that it calls.

The processes run without site packages: nothing here may import anything that is not in the standard library.
"""

import os
import select
import sys
import threading

from rewards.frames import OK, read_frame, write_frame


def begin() -> tuple[int, int]:
    """`take_pipes`, with the search path that comes first: what is imported from now on is found on it."""
    requests, answers = take_pipes()
    sys.path[:] = read_frame(requests).decode().split("\0")
    return requests, answers


def ready(requests: int, answers: int) -> None:
    """Say that requests may come; from now on this process ends with whoever asks."""
    end_with(requests)
    write_frame(answers, OK, b"ready")


def take_pipes() -> tuple[int, int]:
    """(where requests come from, where answers go): what was standard input and output, which are /dev/null from now
    on, so that what somebody's code prints or reads is no frame."""
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    return requests, answers


def end_with(requests: int) -> None:
    """From now on this process ends as soon as nobody can ask any more, whatever it is at. A call may take minutes, and
    no read tells its thread that the command was killed meanwhile."""
    threading.Thread(target=_wait_for_hang_up, args=(requests,), daemon=True).start()


def _wait_for_hang_up(requests: int) -> None:
    poll = select.poll()
    poll.register(requests, 0)  # nothing but the hang-up
    poll.poll()
    os._exit(0)
