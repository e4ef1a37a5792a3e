"""The sandbox of this process: its zygotes, the level that is demanded, and trying again where a zygote died."""

import threading
import warnings
from collections.abc import Callable
from typing import TypeVar

from rewards.sandbox.levels import Level
from rewards.sandbox.processes import Gone, Report, SandboxError, Zygote
from rewards.workers import Pool

T = TypeVar("T")

TRIES = 4
"""Times that a run is tried whose zygote dies under it."""


class Sandbox:
    """Zygotes of one highest level, started as they are needed. For use from many threads."""

    def __init__(self, most: Level = Level.L4) -> None:
        self.pool: Pool[Zygote] = Pool(lambda: Zygote(most))
        self._at_least = Level.L1
        self._warned = threading.Lock()

    def report(self) -> Report:
        """What a zygote found out here; starts one if there is none. Raises SandboxError where nothing can be run."""
        with self.pool.worker() as zygote:
            return zygote.report()

    def require(self, level: Level) -> None:
        """From now on run nothing below this level. Raises SandboxError where it is not reached here."""
        self._at_least = level
        with self.pool.worker() as zygote:
            self._admit(zygote)

    def attempted(self, action: Callable[[Zygote], T]) -> T:
        """What `action` makes of a zygote; tried again with another where that one dies. Raises SandboxError.

        The level is checked for every zygote, which may have been started after the rules of this machine were changed.
        """
        for _ in range(TRIES):
            with self.pool.worker() as zygote:
                self._admit(zygote)
                try:
                    return action(zygote)
                except Gone:
                    continue
        raise SandboxError(f"the process that programs are forked from died {TRIES} times over this one")

    def _admit(self, zygote: Zygote) -> None:
        report = zygote.report()
        if report.level < self._at_least:
            raise SandboxError(f"{self._at_least.name} is demanded, and this machine gives {report.line}")
        if report.level is Level.L1 and self._warned.acquire(blocking=False):
            warnings.warn(f"model-written programs run at {report.line}", RuntimeWarning, stacklevel=2)


sandbox = Sandbox()
"""What the verifiers of this process use."""
