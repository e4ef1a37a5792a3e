"""An event loop of asyncio that opens nothing, for programs that await their own coroutines.

The loop of the standard library waits in a selector and keeps a pair of sockets to be woken by, both of which are
descriptors, which a program cannot have. Where there are no sockets, signals and threads nothing can wake a loop but
its own timers, so this one sleeps until the next of them. No system call is needed that programs could not make before.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn  # what a program hands to its loop

_REACHING_OUT = ("socket", "ssl", "subprocess", "_posixsubprocess", "selectors", "concurrent", "concurrent.futures")
"""What asyncio imports for itself, and a program may not by name."""


class _Timers:
    """In the place of a selector: waits for the next timer, and never has an event."""

    def select(self, timeout: float | None) -> list[object]:
        """Sleep. Raises RuntimeError where it would be for ever."""
        if timeout is None:
            raise RuntimeError("the event loop waits for something that cannot happen")
        if timeout > 0:
            time.sleep(timeout)
        return []


class EventLoop(asyncio.BaseEventLoop):
    """Coroutines, timers, and functions "in threads", which run at once: there are no threads."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Timers()

    def _process_events(self, event_list: list[object]) -> None:
        return

    def _write_to_self(self) -> None:
        return

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """A future that is done: func(*args) was called."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # of the program, for whoever awaits the future
            future.set_exception(error)
        return future


class _Policy(asyncio.AbstractEventLoopPolicy):
    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = self.new_event_loop()
        return self._loop

    def set_event_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return EventLoop()

    def get_child_watcher(self) -> NoReturn:
        """Raises NotImplementedError: there are no child processes to be watched."""
        raise NotImplementedError

    def set_child_watcher(self, watcher: object) -> NoReturn:
        """Raises NotImplementedError, as above."""
        raise NotImplementedError


def install() -> None:
    """Make it the loop of this process and of those forked from it."""
    asyncio.set_event_loop_policy(_Policy())
    asyncio.SelectorEventLoop = EventLoop  # type: ignore[assignment]
    for name in _REACHING_OUT:
        sys.modules.pop(name, None)
