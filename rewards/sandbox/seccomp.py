"""A filter on system calls: a short list is allowed, everything else fails with EPERM.

Nothing on the list opens, connects, starts, signals or changes anything outside the process; memory cannot be made
executable. Calls by another convention (32-bit by int 0x80, x32) end the process: their numbers mean other things.
"""

import ctypes
import errno
import struct

from rewards.sandbox.syscalls import Architecture, Kernel

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, constant
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _THIRD_ARGUMENT = 0, 4, 16 + 2 * 8  # offsets in struct seccomp_data; low words, little endian

ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_PROT_EXEC = 4
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2


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
        # Without executable memory a program cannot bring machine code of its own. Each jump counts the instructions
        # that it leaps over.
        if name in ("mmap", "mprotect"):
            code += [
                (_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, _THIRD_ARGUMENT),
                (_ANY_BIT, 0, 1, _PROT_EXEC),
                (_RETURN, 0, 0, REFUSE),
                (_RETURN, 0, 0, ALLOW),
            ]
        else:
            code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, ALLOW)]
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
