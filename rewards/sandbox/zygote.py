"""The process that model-written programs are forked from. Run as a script; it imports nothing but the standard
library.

Started by exec as `python -I -S -B zygote.py LEVEL [FOLDER OF NUMPY]` with an empty environment and a Unix socket as
standard input. It says what it found out ({"layers": ..}, one frame), then serves runs, one at a time (see wire.py):

    grader: START and one descriptor, the run's channel      zygote: forks a child that keeps the channel alone
    grader: END, when it has the answer or the time is up    zygote: kills the child and says how it ended

The task and its answers pass between the grader and the child: no byte of them enters this process, whose memory every
later child inherits. It holds no deadline: that is the grader's, and a grader that is gone ends the run too.
"""

import builtins
import gc
import importlib
import json
import os
import signal
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import NoReturn

# Our own modules, without the package `rewards` itself, which imports far more.
_HERE = os.path.dirname(os.path.abspath(__file__))
for _name, _folder in (("rewards", os.path.dirname(_HERE)), ("rewards.sandbox", _HERE)):
    _package = types.ModuleType(_name)
    _package.__path__ = [_folder]
    sys.modules[_name] = _package

import _socket  # noqa: E402

from rewards.sandbox import imports, programs, wire  # noqa: E402
from rewards.sandbox.levels import Level  # noqa: E402
from rewards.sandbox.limits import CHANNEL  # noqa: E402
from rewards.sandbox.lockdown import Lockdown  # noqa: E402
from rewards.sandbox.shelf import Shelf  # noqa: E402
from rewards.sandbox.streams import redirect  # noqa: E402

_WARM_UP = {
    "mode": "call", "code": "def f(x):\n    y = x + 1\n    return [y, 'a', 0.5]", "entry": "f",
    "inputs": [[1], [2], ["a"]],
}  # fmt: skip


class _Nobody(wire.Channel):
    """Where the answers of the warm-up go."""

    def write(self, data: bytes) -> None:
        return


def child(
    lockdown: Lockdown, take: Callable[[], None], channel: int, parent: int, seconds: float, megabytes: int
) -> NoReturn:
    """Everything that happens in the forked process; `take` gives it its modules."""
    try:
        take()
        lockdown.put_on(channel, parent, seconds, megabytes)
        grader = wire.Channel(CHANNEL)
        task = json.loads(grader.receive())
        grader.write(wire.READY)
        programs.run(task, grader)
    finally:
        os._exit(0)


def receive_start(control: _socket.socket) -> tuple[float, int, list[str], int]:
    """(seconds, megabytes, modules, channel) of the next run. Raises EOFError when the grader is gone."""
    data, ancillary, _, _ = control.recvmsg(wire.START.size, _socket.CMSG_SPACE(4))
    if not data:
        raise EOFError
    data += wire.read_exactly(control.recv, wire.START.size - len(data))
    seconds, megabytes, size = wire.START.unpack(data)
    modules = wire.read_exactly(control.recv, size).decode("ascii")
    (descriptor,) = (int.from_bytes(content[:4], sys.byteorder) for _, _, content in ancillary)
    return seconds, megabytes, modules.split(",") if modules else [], descriptor


def load_numpy(folder: str) -> None:
    """Import NumPy and what it loads late, from a folder of which nothing else can be imported afterwards."""
    sys.path.append(folder)
    importlib.import_module(imports.NUMPY)
    for part in imports.NUMPY_PARTS:
        importlib.import_module(f"{imports.NUMPY}.{part}")
    sys.path.remove(folder)


def serve(control: _socket.socket, lockdown: Lockdown, shelf: Shelf) -> None:
    """One run, from START to how it ended. Raises EOFError when the grader is gone."""
    seconds, megabytes, modules, channel = receive_start(control)
    # Here, so that this and later children have them: they can open no file.
    shelf.load(modules)
    needed = shelf.needed(modules)
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        # The grader learns of it when it ends the run; an unexpected frame would confuse the two.
        os.close(channel)
        wire.read_exactly(control.recv, len(wire.END))
        control.sendall(wire.ENDED.pack(wire.NOT_STARTED, error.errno or 0))
        return
    if pid == 0:
        child(lockdown, partial(shelf.take, needed), channel, parent, seconds, megabytes)
    os.close(channel)
    try:
        wire.read_exactly(control.recv, len(wire.END))
    finally:
        os.kill(pid, signal.SIGKILL)  # also where it has ended: it is ours until waitpid
        _, how = os.waitpid(pid, 0)
    if os.WIFSIGNALED(how):
        control.sendall(wire.ENDED.pack(wire.KILLED_BY, os.WTERMSIG(how)))
    else:
        control.sendall(wire.ENDED.pack(wire.EXITED, os.WEXITSTATUS(how)))


def main() -> None:
    control = _socket.socket(fileno=0)
    lockdown = Lockdown(Level[sys.argv[1]])
    lockdown.enter_namespaces()
    for module in (*imports.PRELOADED, *imports.CODECS):
        importlib.import_module(module)
    for folder in sys.argv[2:]:
        load_numpy(folder)
    # What is there besides is for the libraries that are loaded now.
    for name in {*os.environ} - {"PATH", "LC_ALL"}:
        del os.environ[name]
    for name, end in (("exit", sys.exit), ("quit", sys.exit)):  # the module `site`, left out here, makes them
        setattr(builtins, name, end)
    # Recursive solutions are common, and the limit of an ordinary interpreter fails some that are right.
    sys.setrecursionlimit(10_000)
    redirect()
    # Bytecode specializes itself as it runs; done here once, no child has to copy those pages.
    for _ in range(32):
        programs.run(_WARM_UP, _Nobody(-1))
    lockdown.hide()
    shelf = Shelf(threads=lockdown.threads)
    # What is frozen the collector does not touch, so that these pages stay shared with every child.
    gc.collect()
    gc.freeze()
    control.sendall(wire.framed(json.dumps({"layers": lockdown.layers}).encode()))
    try:
        while True:
            serve(control, lockdown, shelf)
    except (EOFError, ConnectionError):
        os._exit(0)  # whoever started this process is gone


if __name__ == "__main__":
    main()
