"""Grading beside other work."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Background(ThreadPoolExecutor):
    """One thread that does what it is given, one thing after the other, while its owner goes on.

    Made for grading while a model still writes: verdicts of programs are mostly waited for, and those of mathematics
    take no longer here than they would afterwards. What was not begun when its owner leaves is dropped, so that nobody
    who is stopped waits for it.
    """

    def __init__(self) -> None:
        super().__init__(1, thread_name_prefix="grading")

    def __exit__(self, *_: Any) -> None:
        self.shutdown(wait=True, cancel_futures=True)
