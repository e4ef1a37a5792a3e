"""The process that model-written programs are forked from. Run as a script; it imports nothing but the standard library.

Started by exec as `python -I -S -B zygote.py` with an empty environment. It reads frames (see rewards/workers.py) of
    seconds (8 bytes), JSON {"code", "entry", "inputs", "megabytes"}
and answers each with (status, bytes), where the bytes are what the child wrote into its own pipe: at best one JSON list
with an encoded outcome per input, but whatever it is it is only ever data. The child has no other descriptor, so that
it cannot write frames of this process; expected values are never sent here.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import re
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Callable

quoted = json.encoder.encode_basestring_ascii

HEADER = struct.Struct(">BI")
OK, DIED, LATE, TOO_MUCH, FAILED = range(5)
LARGEST_ANSWER = 1 << 20
DEEPEST_VALUE = 60
NOBODY = 65534

# Few, since every mapped page makes each fork dearer; the others are imported when a program first names them.
PRELOADED = ("bisect", "collections", "copy", "functools", "heapq", "itertools", "json", "math", "operator", "re", "string", "typing")
# What these import by themselves only when they are used, at which time a program can open no file.
ALSO = {"datetime": ["_strptime"], "decimal": ["numbers"], "traceback": ["linecache"], "random": ["bisect"]}

# Never imported for a program: what opens windows and browsers, or the machine itself.
REFUSED = {"antigravity", "ctypes", "_ctypes", "idlelib", "this", "tkinter", "turtle", "turtledemo", "webbrowser"}
IMPORT = re.compile(rb"^[ \t]*(?:from|import)[ \t]+([A-Za-z_][\w.]*(?:[ \t]*,[ \t]*[A-Za-z_][\w.]*)*)", re.MULTILINE)


# Limits of zero: file size and descriptors (so nothing can be opened), processes, core files, locked memory, message queues.
NOTHING_OF = [(getattr(resource, f"RLIMIT_{name}"), 0) for name in ("FSIZE", "NOFILE", "NPROC", "CORE", "MEMLOCK", "MSGQUEUE")
              if f"RLIMIT_{name}" in dir(resource)]


class Nowhere(io.RawIOBase):
    """Where printing goes: a program may print what it likes, and nobody reads it."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return len(data)  # type: ignore[arg-type]


def encoded(value: object, depth: int = 0) -> str:
    """A value as JSON text: plain types only, tagged. Subclasses become the plain type that they extend.

    Written out by hand: in a fresh child json.dumps costs more than the program.
    """
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        number = int(value)
        return int.__repr__(number) if -(1 << 63) <= number < 1 << 63 else f'["int","{number:x}"]'
    if isinstance(value, float):
        return f'["float","{float.hex(value)}"]'
    if isinstance(value, str):
        return quoted(str.__str__(value))
    if depth > DEEPEST_VALUE:
        raise ValueError("the value is nested too deeply")
    if isinstance(value, complex):
        return f'["complex","{float.hex(value.real)}","{float.hex(value.imag)}"]'
    if isinstance(value, (bytes, bytearray)):
        return f'["bytes","{bytes(value).hex()}"]'
    if isinstance(value, dict):
        items = [f",[{encoded(k, depth + 1)},{encoded(v, depth + 1)}]" for k, v in dict.items(value)]
        return f'["dict"{"".join(items)}]'
    for plain in (list, tuple, set, frozenset):
        if isinstance(value, plain):
            parts = ["," + encoded(item, depth + 1) for item in plain.__iter__(value)]  # type: ignore[arg-type]
            return f'["{plain.__name__}"{"".join(parts)}]'
    raise TypeError(f"a value of type {type(value).__name__} is not plain data")


def outcome(what: str, text: str) -> str:
    return f'["{what}",{quoted(text[:200])}]'


def run(code: str, entry: str, inputs: list[list[object]], write: Callable[[bytes], object]) -> None:
    """Execute the program and call its entry once per input; write the outcomes so far if one of them ends it."""
    outcomes: list[str] = []
    namespace: dict[str, object] = {"__name__": "solution", "__builtins__": __builtins__}
    try:
        exec(compile(code, "<solution>", "exec", dont_inherit=True), namespace)
        function = namespace.get(entry)
        if not callable(function):
            outcomes.append(outcome("missing", f"the program defines no function {entry}"))
        else:
            for arguments in inputs:
                try:
                    outcomes.append(f'["value",{encoded(function(*arguments))}]')
                except Exception as error:
                    outcomes.append(outcome("raised", f"{type(error).__name__}: {error}"))
    except BaseException as error:
        outcomes.append(outcome("broken", f"{type(error).__name__}: {error}"))
    write(f"[{','.join(outcomes)}]".encode())


def lock_in(descriptor: int, seconds: float, megabytes: int) -> int:
    """Give up what a program needs not; returns the descriptor that answers go to (the only one left open)."""
    os.setsid()
    answers = 3
    if descriptor != answers:
        os.dup2(descriptor, answers)
    os.closerange(0, answers)
    os.closerange(answers + 1, 256)
    memory, cpu = megabytes << 20, int(seconds) + 2
    for number, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu), *NOTHING_OF):
        with contextlib.suppress(ValueError, OSError):  # not known to this kernel, or already lower
            resource.setrlimit(number, (limit, limit))
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # root of a user namespace that maps no other user
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    return answers


def silence() -> None:
    """Standard input is empty and standard output goes nowhere, with no descriptor behind them.

    Done in the zygote, which itself reads and writes descriptors: in each child it would cost as much as the fork.
    """
    sys.stdin = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    sys.stdout = sys.stderr = io.TextIOWrapper(io.BufferedWriter(Nowhere()), encoding="utf-8", errors="replace")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def import_for(code: bytes) -> None:
    """Import the standard modules that a program names, here in the zygote, since the program can open no file.

    Only standard modules run; those that later programs name too are there already.
    """
    for names in IMPORT.findall(code):
        for name in names.decode().split(","):
            module = name.strip()
            top = module.partition(".")[0]
            # A name with an underscore may be a package's __main__, which would run here.
            private = any(part.startswith("_") for part in module.split("."))
            if module in sys.modules or private or top in REFUSED or top not in sys.stdlib_module_names:
                continue
            for wanted in (module, *ALSO.get(module, ())):
                with contextlib.suppress(Exception, SystemExit):  # the program meets the same error when it imports it
                    importlib.import_module(wanted)
            gc.freeze()


def child(task: dict[str, object], seconds: float, descriptor: int) -> None:
    """Everything that happens in the forked process; never returns."""
    try:
        answers = lock_in(descriptor, seconds, task["megabytes"])  # type: ignore[arg-type]

        def write(data: bytes) -> None:
            while data:
                data = data[os.write(answers, data[: 1 << 16]) :]

        run(task["code"], task["entry"], task["inputs"], write)  # type: ignore[arg-type]
    finally:
        os._exit(0)


def collect(descriptor: int, deadline: float) -> tuple[int, bytes]:
    """(status, what the child wrote until it closed its pipe, or died, or wrote too much, or its deadline passed)."""
    data = bytearray()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return LATE, b""
        part = os.read(descriptor, 1 << 16)
        if not part:
            return OK, bytes(data)
        data += part
        if len(data) > LARGEST_ANSWER:
            return TOO_MUCH, b""


def serve(request: bytes, seconds: float) -> tuple[int, bytes]:
    """One run: fork, collect, kill, reap."""
    task = json.loads(request)
    import_for(task["code"].encode("utf-8", "replace"))
    deadline = time.monotonic() + seconds
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        child(task, seconds, writing)
    os.close(writing)
    try:
        status, data = collect(reading, deadline)
    finally:
        os.close(reading)
        # The pipe may be closed by a program that lives on, and it may have moved to another process group.
        os.kill(pid, signal.SIGKILL)
        _, how = os.waitpid(pid, 0)
    if status == OK and not data:
        status = DIED
        data = f"signal {os.WTERMSIG(how)}".encode() if os.WIFSIGNALED(how) else b"ended"
    return status, data


def read_exactly(size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(0)  # whoever started this process is gone
        data += part
    return bytes(data)


def read_frame() -> bytes:
    _, size = HEADER.unpack(read_exactly(HEADER.size))
    return read_exactly(size)


def write_frame(status: int, data: bytes) -> None:
    frame = HEADER.pack(status, len(data)) + data
    while frame:
        frame = frame[os.write(1, frame) :]


def main() -> None:
    read_frame()  # the search path, of no use here
    for module in PRELOADED:
        importlib.import_module(module)
    sys.setrecursionlimit(10_000)
    # Bytecode specializes itself as it runs; done here once, no child has to copy those pages.
    for _ in range(32):
        run("def f(x):\n    y = x + 1\n    return [y, 'a', 0.5]", "f", [[1], [2], ["a"]], len)
    silence()
    gc.collect()
    gc.freeze()
    write_frame(OK, b"ready")
    while True:
        frame = read_frame()
        try:
            status, data = serve(frame[8:], struct.unpack(">d", frame[:8])[0])
        except OSError as error:
            status, data = FAILED, str(error).encode()
        write_frame(status, data)


if __name__ == "__main__":
    main()
