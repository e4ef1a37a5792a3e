"""The sandbox of this process: its zygotes, the level that is demanded, and trying again where a zygote died."""

import contextlib
import importlib.util
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from rewards.sandbox.imports import NUMPY, named_in
from rewards.sandbox.levels import Level
from rewards.sandbox.processes import Gone, NotStarted, Report, SandboxError, Zygote
from rewards.workers import Pool

T = TypeVar("T")

TRIES = 4
"""Times that a run is tried whose zygote dies under it."""


class Sandbox:
    """Zygotes, started as they are needed. For use from many threads.

    Nothing runs below the level `at_least`, which a recipe sets; `most` is the highest that a new zygote tries.
    """

    def __init__(self) -> None:
        self.at_least, self.most = Level.L1, Level.L4
        self.pool: Pool[Zygote] = Pool(lambda: Zygote(self.most))
        # Made when a program first imports NumPy: loading it takes half a second.
        self.numpy_pool: Pool[Zygote] = Pool(lambda: Zygote(self.most, _numpy_folder()))
        # Never released: a lock is a flag of which two threads cannot both find that it is not set.
        self._warned = threading.Lock()

    def report(self) -> Report:
        """What a zygote found out here; starts one if there is none. Raises SandboxError where nothing can be run."""
        with self.pool.worker() as zygote:
            return zygote.report()

    def answer(self, task: Mapping[str, Any], seconds: float, megabytes: int) -> bytes:
        """The first frame that a child with this task writes. Raises SandboxError, Late, Ended or TooMuch."""
        # Found on this side, so that the zygote gets their names and never the program.
        modules = named_in(task.get("prelude", "") + "\n" + task["code"])

        def ask(zygote: Zygote) -> bytes:
            with zygote.run(seconds, megabytes, modules) as run:
                run.give(task)
                return run.receive()

        return self.attempted(ask, [modules])

    def attempted(self, action: Callable[..., T], modules: Sequence[Sequence[str]]) -> T:
        """What `action` returns when it is called with a zygote for each of these lists of modules; it is called again
        where one of them dies.

        Raises SandboxError where they keep dying, or do not reach the level that is demanded. The level is checked for
        every zygote, since one may have been started after the rules of this machine were changed.
        """
        died = SandboxError(f"the process that programs are forked from died {TRIES} times over this one")
        for _ in range(TRIES):
            with contextlib.ExitStack() as stack:
                # A pool has no upper end, so taking two at once cannot make two threads wait for each other.
                taken = [stack.enter_context(self._pool(named).worker()) for named in modules]
                try:
                    for zygote in taken:
                        self._admit(zygote)
                    return action(*taken)
                except Gone:
                    continue
                except NotStarted as error:
                    died = error
        raise died

    def close(self) -> None:
        """End the idle processes."""
        self.pool.close()
        self.numpy_pool.close()

    def _pool(self, modules: Sequence[str]) -> Pool[Zygote]:
        return self.numpy_pool if NUMPY in modules else self.pool

    def _admit(self, zygote: Zygote) -> None:
        report = zygote.report()
        if report.level < self.at_least:
            raise SandboxError(f"the sandbox is to be {self.at_least.name} at least, and here it is {report.line}")
        if report.level is Level.L1 and self._warned.acquire(blocking=False):
            warnings.warn(f"model-written programs run at {report.line}", RuntimeWarning, stacklevel=2)


@lru_cache(maxsize=1)
def _numpy_folder() -> Path | None:
    # Looked for and not imported: this process need not have it loaded.
    found = importlib.util.find_spec(NUMPY)
    return Path(found.origin).parent.parent if found is not None and found.origin else None


sandbox = Sandbox()
"""What the verifiers of this process use."""
