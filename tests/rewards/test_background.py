"""Grading beside other work: in order, and nothing that was not begun keeps its owner."""

import contextlib
import threading

from rewards.background import Background


def test_work_is_done_in_the_order_given_and_away_from_the_caller() -> None:
    done: list[int] = []
    with Background() as background:
        threads = [background.submit(lambda n=n: (done.append(n), threading.get_ident())[1]) for n in range(20)]  # type: ignore[misc]
        assert {thread.result() for thread in threads} != {threading.get_ident()}
        assert len({thread.result() for thread in threads}) == 1
    assert done == list(range(20))


def test_what_was_not_begun_is_dropped() -> None:
    begun, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        begun.set()
        go_on.wait(10)
        done.append(0)

    with contextlib.suppress(KeyboardInterrupt), Background() as background:
        background.submit(first)
        rest = [background.submit(done.append, n) for n in range(1, 100)]
        assert begun.wait(10)
        threading.Timer(0.1, go_on.set).start()
        raise KeyboardInterrupt
    assert done == [0]
    assert all(one.cancelled() for one in rest)
