"""System call numbers, of two architectures: those that a locked-in program may make, and those that lock it in.

From asm/unistd_64.h (x86-64) and asm-generic/unistd.h (aarch64). Other architectures get no filter, and so are L1.
"""

import ctypes
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """`audit` is the kernel's AUDIT_ARCH number; `x32` is the bit of calls by another convention on the same machine.
    `clone` is allowed for threads alone, and `clone3`, whose flags a filter cannot see, is not there."""

    audit: int
    x32: int | None
    allowed: Mapping[str, int]
    clone: int
    clone3: int
    ours: Mapping[str, int]


ARCHITECTURES: Mapping[str, Architecture] = {
    "x86_64": Architecture(
        audit=0xC000003E,
        x32=0x40000000,
        # What CPython needs to run, to allocate and to exit. Nothing here takes a path, an address or another process.
        allowed={
            "read": 0, "write": 1, "close": 3, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25,
            "madvise": 28, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sigaltstack": 131,
            "restart_syscall": 219, "sched_yield": 24, "sched_getaffinity": 204, "futex": 202, "nanosleep": 35,
            "clock_nanosleep": 230, "clock_gettime": 228, "clock_getres": 229, "gettimeofday": 96, "time": 201,
            "times": 100, "getrusage": 98, "getpid": 39, "gettid": 186, "getppid": 110, "getuid": 102, "geteuid": 107,
            "getgid": 104, "getegid": 108, "uname": 63, "sysinfo": 99, "getrandom": 318, "exit": 60, "exit_group": 231,
            "set_robust_list": 273, "rseq": 334,
        },
        clone=56,
        clone3=435,
        ours={"prctl": 157, "capset": 126, "unshare": 272, "mount": 165, "landlock_create_ruleset": 444,
              "landlock_restrict_self": 446},
    ),
    "aarch64": Architecture(
        audit=0xC00000B7,
        x32=None,
        allowed={
            "read": 63, "write": 64, "close": 57, "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214,
            "mremap": 216, "madvise": 233, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
            "sigaltstack": 132, "restart_syscall": 128, "sched_yield": 124, "sched_getaffinity": 123, "futex": 98,
            "nanosleep": 101, "clock_nanosleep": 115, "clock_gettime": 113, "clock_getres": 114, "gettimeofday": 169,
            "times": 153, "getrusage": 165, "getpid": 172, "gettid": 178, "getppid": 173, "getuid": 174, "geteuid": 175,
            "getgid": 176, "getegid": 177, "uname": 160, "sysinfo": 179, "getrandom": 278, "exit": 93, "exit_group": 94,
            "set_robust_list": 99, "rseq": 293,
        },
        clone=220,
        clone3=435,
        ours={"prctl": 167, "capset": 91, "unshare": 97, "mount": 40, "landlock_create_ruleset": 444,
              "landlock_restrict_self": 446},
    ),
}  # fmt: skip


def here() -> Architecture:
    """This machine's. Raises OSError where its calls are not known, or the interpreter is of another word size."""
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
    if os.uname().sysname != "Linux" or machine not in ARCHITECTURES or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise OSError(f"the system calls of {os.uname().sysname} on {machine} are not known")
    return ARCHITECTURES[machine]


class Kernel:
    """Calls by name that neither `os` nor every libc has. Pointers are given as numbers."""

    def __init__(self) -> None:
        """Raises OSError where `here` does."""
        self.architecture = here()
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.argtypes = [ctypes.c_long] * 6
        self._syscall.restype = ctypes.c_long

    def __call__(self, name: str, *arguments: int) -> int:
        """The result of the call. Raises OSError."""
        # The C function takes as many arguments as the largest call; what a call does not use is not looked at.
        padded = (*arguments, 0, 0, 0, 0, 0)[:5]
        result = int(self._syscall(self.architecture.ours[name], *padded))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")
        return result
