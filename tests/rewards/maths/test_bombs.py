"""Bombs from the main thread, from a thread and from an event loop; tests/pipeline/test_bombs.py throws them in trl's
trainer."""

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence

import pytest

from tests.rewards.maths.bombs import BOMBS
from tests.rewards.maths.throwing import A_FEW, less_than, nothing_touched, throw

Context = Callable[[Sequence[str]], None]


def in_a_thread(names: Sequence[str]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            throw(names)
        except BaseException as error:  # to be raised where pytest sees it
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def in_a_loop(names: Sequence[str]) -> None:
    async def run() -> None:
        ticks = asyncio.create_task(asyncio.sleep(0))
        throw(names)
        await ticks

    asyncio.run(run())


def in_the_main_thread(names: Sequence[str]) -> None:
    throw(names)


CONTEXTS = [in_the_main_thread, in_a_thread, in_a_loop]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("context", CONTEXTS)
def test_a_few(context: Context) -> None:
    with nothing_touched(), less_than(1):
        context(A_FEW)


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("context", CONTEXTS)
def test_all(context: Context) -> None:
    with nothing_touched(), less_than(1):
        context(list(BOMBS))
