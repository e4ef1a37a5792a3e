"""Results of functions that may be coroutines."""

import functools
import inspect
import os
import threading
from collections.abc import Awaitable, Sequence

from rewards.lazy import lazy

with lazy:  # a few rewards are async, and every command imports this file
    import asyncio


def results(given: Sequence[object]) -> list[object]:
    """`given`, with what has to be awaited awaited, all of it at once. Raises what any of it raises."""
    waiting = [one for one in given if inspect.isawaitable(one)]
    if not waiting:
        return list(given)
    found = iter(asyncio.run_coroutine_threadsafe(_all(waiting), _loop(os.getpid())).result())
    return [next(found) if inspect.isawaitable(one) else one for one in given]


def is_async(function: object) -> bool:
    """Whether calling it gives a coroutine, as far as that is known before."""
    # An object with an async `__call__` is such a function, too.
    call = getattr(type(function), "__call__", None)  # noqa: B004  (callable() does not say which)
    inner = function.func if isinstance(function, functools.partial) else function
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call)


async def _all(waiting: Sequence[Awaitable[object]]) -> list[object]:
    return await asyncio.gather(*waiting)


@functools.cache
def _loop(process: int) -> "asyncio.AbstractEventLoop":
    """The loop of this process; a forked child has none of the threads of its parent, and so makes its own."""
    # One loop for all calls: clients of servers that a function's module keeps belong to the loop they began in.
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name=f"rewards-{process}").start()
    return loop
