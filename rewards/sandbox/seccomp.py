"""A filter on system calls: a short list is allowed, everything else fails with EPERM.

Nothing on the list opens, connects, signals or changes anything outside the process, or starts one; memory cannot be
made executable. Threads can be started as C libraries do it, with a stack of 1 MiB at least, so that the limit on
memory bounds their number. Calls by another convention (32-bit by int 0x80, x32) end the process: their numbers mean
other things.
"""

import ctypes
import errno
import struct

from rewards.sandbox.syscalls import Architecture, Kernel

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, constant
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# Offsets in struct seccomp_data: the low words of arguments, little endian, and the high word of one.
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND, _SECOND_HIGH, _THIRD, _FOURTH = 0, 4, 16, 24, 28, 32, 40

ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
NOT_THERE = 0x00050000 | errno.ENOSYS
_PROT_EXEC = 4
_MAP_STACK = 0x20000
LEAST_STACK = 1 << 20
"""Bytes of the stack of a thread. A mapping for one is known by its flag; each counts for the limit on memory."""

THREAD = (0x3D0F00, 0x7D0F00)
"""The flags with which glibc and musl start a thread: it shares everything with the process, and is no process."""
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2


# Each jump counts the instructions that it leaps over. Without executable memory a program cannot bring machine code of
# its own.
_PROTECT = [
    (_LOAD, 0, 0, _THIRD),
    (_ANY_BIT, 0, 1, _PROT_EXEC),
    (_RETURN, 0, 0, REFUSE),
    (_RETURN, 0, 0, ALLOW),
]
_MAP = [
    *_PROTECT[:3],
    (_LOAD, 0, 0, _FOURTH),
    (_ANY_BIT, 0, 5, _MAP_STACK),
    (_LOAD, 0, 0, _SECOND_HIGH),
    (_EQUAL, 0, 3, 0),
    (_LOAD, 0, 0, _SECOND),
    (_AT_LEAST, 1, 0, LEAST_STACK),
    (_RETURN, 0, 0, REFUSE),
    (_RETURN, 0, 0, ALLOW),
]
_CLONE = [
    (_LOAD, 0, 0, _FIRST),
    (_EQUAL, 1, 0, THREAD[0]),
    (_EQUAL, 0, 1, THREAD[1]),
    (_RETURN, 0, 0, ALLOW),
    (_RETURN, 0, 0, REFUSE),
]


def program(architecture: Architecture) -> bytes:
    """The filter as BPF, 8 bytes an instruction."""
    # The architecture comes first: in another one the same number is another call.
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if architecture.x32 is not None:
        code += [(_AT_LEAST, 0, 1, architecture.x32), (_RETURN, 0, 0, KILL)]
    for name, number in architecture.allowed.items():
        decision = {"mmap": _MAP, "mprotect": _PROTECT}.get(name, [(_RETURN, 0, 0, ALLOW)])
        code += [(_EQUAL, 0, len(decision), number), *decision]
    code += [(_EQUAL, 0, len(_CLONE), architecture.clone), *_CLONE]
    # A C library that is told so goes on with `clone`; told that it must not, it gives up.
    code += [(_EQUAL, 0, 1, architecture.clone3), (_RETURN, 0, 0, NOT_THERE)]
    # Refused and not killed: a program that merely tries to open a file goes on with an error that it can catch.
    code.append((_RETURN, 0, 0, REFUSE))
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Filter:
    """The filter of this machine, made once and put on by every child."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        code = program(kernel.architecture)
        self._code = ctypes.create_string_buffer(code, len(code))  # keeps the memory that _program points to
        self._program = _Program(len(code) // _INSTRUCTION.size, ctypes.addressof(self._code))
        self._address = ctypes.addressof(self._program)

    def put_on(self) -> None:
        """For this process, for ever; it must have given up new privileges before. Raises OSError."""
        self._kernel("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, self._address)
