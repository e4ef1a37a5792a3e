"""Which layers work here, seen by trying them, and putting them all on in a child.

A layer counts as working when a child that has put it on, and nothing else, fails at what the layer forbids.
"""

import os
import signal
from collections.abc import Callable
from typing import NoReturn

from rewards.sandbox import limits, namespaces
from rewards.sandbox.landlock import Ruleset
from rewards.sandbox.levels import Level
from rewards.sandbox.seccomp import Filter
from rewards.sandbox.selftest import attempts, error_of_reading, error_of_routing
from rewards.sandbox.syscalls import Kernel


class Lockdown:
    """What children put on. `layers` says of each layer "" where it works, or why it does not or is not wanted."""

    def __init__(self, most: Level) -> None:
        """Tries the layers up to the level `most`; namespaces are tried, and entered by `enter_namespaces` alone."""
        self.layers: dict[str, str] = {}
        self._kernel: Kernel | None = None
        self._filter: Filter | None = None
        self._ruleset: Ruleset | None = None
        self._no_capabilities: limits.NoCapabilities | None = None
        self._empty_root = False
        try:
            self._kernel = kernel = Kernel()
        except OSError as error:
            self.layers = dict.fromkeys(("seccomp", "landlock", "namespaces"), str(error))
            return
        self._no_capabilities = limits.NoCapabilities(kernel)
        self._try("seccomp", most >= Level.L2, self._try_filter)
        self._try("landlock", most >= Level.L3, self._try_ruleset)
        self._try("namespaces", most >= Level.L4, self._try_namespaces)

    @property
    def threads(self) -> bool:
        """Whether programs may start threads: only where the filter sees to it that they start nothing else."""
        return self._filter is not None

    def enter_namespaces(self) -> None:
        """Continue in namespaces of our own, where they work: a child goes on as their process 1, and this process does
        nothing but wait for it."""
        if self._kernel is None or self.layers["namespaces"]:
            return
        namespaces.enter(self._kernel)
        pid = os.fork()
        if pid:
            # The process of before holds nothing open: who waits for the end of a pipe must not wait for it.
            os.closerange(0, 256)
            os.waitpid(pid, 0)
            os._exit(0)
        limits.die_with_parent(self._kernel, 0)  # 0: the parent is in none of our namespaces
        self._empty_root = True

    def hide(self) -> None:
        """Make this process, from which children are forked, unreadable to others of the same user."""
        if self._kernel is not None:
            limits.hide_memory(self._kernel)

    def put_on(self, channel: int, parent: int, seconds: float, megabytes: int) -> None:
        """In a child: lose everything but `channel`, which becomes limits.CHANNEL. Raises OSError."""
        # A session of its own: the terminal's signals are not for it.
        os.setsid()
        if self._empty_root:
            namespaces.leave_files()
        if self._kernel is not None:
            limits.give_up_new_privileges(self._kernel)
        if self._ruleset is not None:
            self._ruleset.put_on()
        # Before the identity is given up, after which some descriptors could not be closed.
        limits.keep_only(channel)
        limits.set_limits(seconds, megabytes, threads=self.threads)
        limits.become_nobody()
        if self._kernel is not None and self._no_capabilities is not None:
            self._no_capabilities.put_on()
            limits.die_with_parent(self._kernel, parent)
        if self._filter is not None:
            # Last: the filter forbids the calls that put on everything else.
            self._filter.put_on()

    def _try(self, layer: str, wanted: bool, attempt: Callable[[Kernel], object]) -> None:
        if not wanted:
            self.layers[layer] = "not asked for"
            return
        assert self._kernel is not None
        try:
            attempt(self._kernel)
            self.layers[layer] = ""
        except OSError as error:
            self.layers[layer] = str(error)

    def _try_filter(self, kernel: Kernel) -> None:
        made = Filter(kernel)

        def attempt() -> str:
            limits.give_up_new_privileges(kernel)
            made.put_on()
            return ", ".join(
                f"{name} gave {error or 'no error'}" for name, error in attempts().items() if error != "EPERM"
            )

        _fail_if(in_child(attempt))
        self._filter = made

    def _try_ruleset(self, kernel: Kernel) -> None:
        made = Ruleset(kernel)
        readable = os.__file__
        # A file that could not be read anyway would prove nothing.
        _fail_if(error_of_reading(readable))

        def attempt() -> str:
            limits.give_up_new_privileges(kernel)
            made.put_on()
            error = error_of_reading(readable)
            return "" if error == "EACCES" else f"open gave {error or 'no error'}"

        _fail_if(in_child(attempt))
        self._ruleset = made

    def _try_namespaces(self, kernel: Kernel) -> None:
        def attempt() -> str:
            namespaces.enter(kernel)
            return in_child(inside)

        def inside() -> str:
            if os.getpid() != 1:
                return "the process namespace is the host's"
            if not error_of_routing():
                return "other machines can be reached"
            namespaces.leave_files()
            return "files are seen" if os.listdir("/") else ""

        _fail_if(in_child(attempt))


def in_child(action: Callable[[], str]) -> str:
    """What `action` returns in a forked child, or the error that it raises or dies of."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _tell(action, writing)
    os.close(writing)
    with open(reading, "rb") as stream:
        said = stream.read()
    _, how = os.waitpid(pid, 0)
    if os.WIFSIGNALED(how):
        return f"a child was ended by {signal.Signals(os.WTERMSIG(how)).name}"
    return said[1:].decode("utf-8", "replace") if said else "a child ended without a word"


def _tell(action: Callable[[], str], descriptor: int) -> NoReturn:
    try:
        try:
            said = action()
        except OSError as error:
            said = str(error) or type(error).__name__
        os.write(descriptor, b":" + said.encode())
    finally:
        os._exit(0)


def _fail_if(complaint: str) -> None:
    if complaint:
        raise OSError(complaint)
