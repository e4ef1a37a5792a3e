"""What every level takes away: resources, open descriptors, the user's identity, privileges."""

import contextlib
import ctypes
import os
import resource
import signal
import struct

from rewards.sandbox.namespaces import NOBODY
from rewards.sandbox.syscalls import Kernel

CHANNEL = 3
"""The one descriptor that a child keeps."""

# Limits of zero: file size and descriptors (so nothing can be opened), processes, core files, locked memory, message
# queues. A file size of zero alone would still let files be created, and the limit of processes does not bind root.
_NOTHING_OF = [(getattr(resource, f"RLIMIT_{name}"), (0, 0))
               for name in ("FSIZE", "NOFILE", "CORE", "MEMLOCK", "MSGQUEUE") if f"RLIMIT_{name}" in dir(resource)]
THREADS = 4096
"""Threads of all programs that run as the same user, where there can be any: the filter has the last word on what may
be started, and this limit is for what it lets through. Each program's own number is bounded by its memory."""
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITIES_VERSION_3 = 0x20080522


def give_up_new_privileges(kernel: Kernel) -> None:
    """No program with more rights can be executed any more; Landlock and seccomp ask for it. Raises OSError."""
    kernel("prctl", _PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent(kernel: Kernel, parent: int) -> None:
    """End when `parent`, which must be the parent, ends; at once if it has ended."""
    kernel("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def hide_memory(kernel: Kernel) -> None:
    """Other processes of the same user cannot trace this one or read its memory, nor will it dump core."""
    kernel("prctl", _PR_SET_DUMPABLE, 0)


def keep_only(channel: int) -> None:
    """Close every descriptor but `channel`, which becomes CHANNEL."""
    # Whatever stayed open would be a way out: the zygote's control socket, or a folder outside of the empty root.
    if channel != CHANNEL:
        os.dup2(channel, CHANNEL)
    os.closerange(0, CHANNEL)
    os.closerange(CHANNEL + 1, 256)


def set_limits(seconds: float, megabytes: int, *, threads: bool) -> None:
    """Memory, CPU time (a backstop: the deadline is held outside), threads if there may be any, and nothing of all
    else."""
    memory, cpu, tasks = megabytes << 20, int(seconds) + 2, THREADS if threads else 0
    for number, limit in ((resource.RLIMIT_AS, (memory, memory)), (resource.RLIMIT_CPU, (cpu, cpu)),
                          (resource.RLIMIT_NPROC, (tasks, tasks)), *_NOTHING_OF):
        with contextlib.suppress(ValueError, OSError):  # not known to this kernel, or already lower
            resource.setrlimit(number, limit)


def become_nobody() -> None:
    """Give up root's identity, where this is root."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # root of a user namespace that maps no other user
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)


class NoCapabilities:
    """The call that drops every capability, with its arguments made once."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITIES_VERSION_3, 0), 8)
        self._none = ctypes.create_string_buffer(24)

    def put_on(self) -> None:
        """For this process, for ever. Raises OSError."""
        self._kernel("capset", ctypes.addressof(self._header), ctypes.addressof(self._none))
