"""An event loop of asyncio that opens nothing, for programs that await their own coroutines and threads.

The loop of the standard library waits in a selector and keeps a pair of sockets to be woken by, both of which are
descriptors, which a program cannot have. Where there are no sockets and signals nothing can wake a loop but its own
timers and the program's own threads, so this one waits for an event that these set.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 (asyncio loads it when it needs it, and no file can be opened then)
import threading
from collections.abc import Callable
from typing import Any, NoReturn  # what a program hands to its loop


class _Timers:
    """In the place of a selector: waits for the next timer or a thread, and never has an event."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def wake(self) -> None:
        self._woken.set()

    def select(self, timeout: float | None) -> list[object]:
        """Sleep. Raises RuntimeError where it would be for ever."""
        if timeout is None and threading.active_count() == 1:
            raise RuntimeError("the event loop waits for something that cannot happen")
        if timeout is None or timeout > 0:
            self._woken.wait(timeout)
        # What a thread wants of the loop is in its list already, before it wakes it.
        self._woken.clear()
        return []


class EventLoop(asyncio.BaseEventLoop):
    """Coroutines, timers, and functions in threads, which run at once where there can be no threads."""

    threads = True

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Timers()

    def _process_events(self, event_list: list[object]) -> None:
        return

    def _write_to_self(self) -> None:
        self._selector.wake()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """A future of func(*args), which was called where there are no threads."""
        if self.threads:
            return super().run_in_executor(executor, func, *args)
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


def install(*, threads: bool) -> None:
    """Make it the loop of this process and of those forked from it."""
    EventLoop.threads = threads
    asyncio.set_event_loop_policy(_Policy())
    asyncio.SelectorEventLoop = EventLoop  # type: ignore[assignment]
