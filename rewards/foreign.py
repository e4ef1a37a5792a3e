"""Calls of code that is not ours, of plug-ins and of chat templates: it may never return, and somebody has to notice.

Nobody can end such a call from inside its own process, so that a watch is told when one begins and ends: in the process
of a stage a file that the runner looks at, in a command an alarm.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Protocol

LOADING = 60.0
"""Seconds that importing a plug-in, or a thousand texts in a chat template, may take."""

ANSWERING = 300.0
"""Seconds that a rule or a verifier may take for one answer; it may have to ask a server."""

MAKING = 1800.0
"""Seconds that a problem set may take for its problems; it may have to download them."""


class Watch(Protocol):
    """Told of foreign calls; of several at once, which threads can make, it may know the last one alone."""

    def began(self, what: str, seconds: float) -> None:
        """A call that may take so long."""
        ...

    def ended(self) -> None: ...


_watches: list[Watch] = []


@contextlib.contextmanager
def watched_by(watch: Watch) -> Iterator[None]:
    """While this lasts, `watch` is told."""
    _watches.append(watch)
    try:
        yield
    finally:
        _watches.remove(watch)


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Around foreign code that may take over what ends this process, as verifiers' environments do when they are made:
    SIGINT and SIGTERM do afterwards what they did before. Only the main thread can set what a signal does."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in kept.items():
                if handler is not None:  # which another language set
                    signal.signal(number, handler)


@contextlib.contextmanager
def calling(what: str, seconds: float = ANSWERING) -> Iterator[None]:
    """Around a call of foreign code: `what` names it as a person knows it."""
    watch = _watches[-1] if _watches else None
    if watch is None:
        yield
        return
    watch.began(what, seconds)
    try:
        yield
    finally:
        watch.ended()
