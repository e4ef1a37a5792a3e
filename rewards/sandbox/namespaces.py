"""Namespaces of their own for a zygote and its children: users, processes, mounts, network, IPC, host name, cgroups.

Made once around the zygote. Its children see no process but it and each other, no network interface that is up, and
(after `leave_files`) an empty folder for a file system. Without root this takes a user namespace.
"""

import ctypes
import os

from rewards.sandbox.syscalls import Kernel

_MOUNTS, _CGROUPS, _HOST_NAME, _IPC, _USERS, _PROCESSES, _NETWORK = (
    0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXEC, _RECURSIVE, _PRIVATE = 1, 2, 4, 8, 0x4000, 0x40000
_NOWHERE = "/proc"  # covered by an empty file system, which also hides the processes of this machine
NOBODY = 65534


def enter(kernel: Kernel) -> None:
    """Make the namespaces. Children forked from now on live in them, the first as their process 1.

    Raises OSError, after which this process is fit for nothing: try it in a child first.
    """
    user, group = os.geteuid(), os.getegid()
    kinds = _MOUNTS | _CGROUPS | _HOST_NAME | _IPC | _PROCESSES | _NETWORK
    kernel("unshare", kinds if user == 0 else kinds | _USERS)
    if user != 0:
        # Without root the kernel takes a map of groups only when setgroups has been given up before.
        maps = (("setgroups", "deny"), ("uid_map", f"{NOBODY} {user} 1"), ("gid_map", f"{NOBODY} {group} 1"))
        for file, text in maps:
            with open(f"/proc/self/{file}", "w", encoding="ascii") as stream:
                stream.write(text)
    # Private first: what is mounted below must not appear outside of this namespace.
    _mount(kernel, "none", "/", None, _RECURSIVE | _PRIVATE)
    _mount(kernel, "tmpfs", _NOWHERE, "tmpfs", _READ_ONLY | _NO_SUID | _NO_DEVICES | _NO_EXEC, "size=4k,mode=555")


def leave_files() -> None:
    """The empty folder is all that this process sees of files from now on. Raises OSError."""
    os.chroot(_NOWHERE)
    os.chdir("/")


def _mount(kernel: Kernel, source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    # The buffers live as long as this list; the kernel is given only their addresses.
    texts = [
        ctypes.create_string_buffer(text.encode()) if text is not None else None
        for text in (source, target, kind, options)
    ]
    source_at, target_at, kind_at, options_at = (ctypes.addressof(text) if text is not None else 0 for text in texts)
    kernel("mount", source_at, target_at, kind_at, flags, options_at)
