"""The process that stages are forked from: it loads the heavy libraries once, and computes nothing.

Jobs come on stdin, one JSON line each: {"job": file, "log": file}. Answers go to stdout: {"job", "pid"} when a stage
was forked and {"job", "pid", "code"} when it ended; a negative code is the signal that ended it. At the end of stdin,
when the runner is gone, every stage is killed. multiprocessing's forkserver does almost this, but puts the current
folder on sys.path, and blocks the one who starts a process until everything is loaded.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from pipeline.run.signals import STOPS, leave_to_the_runner

_PR_SET_PDEATHSIG = 1


def main(modules: Iterable[str]) -> int:
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints while it loads goes to the log
    leave_to_the_runner(*STOPS)
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:  # the stage that needs it will say so itself
            print(f"{module} was not loaded: {error}", file=sys.stderr)
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, every page after a fork
    return _serve(answers)


def _serve(answers: int) -> int:
    running: dict[int, str] = {}
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    # A handler of our own, so that the end of a child wakes the loop through the pipe.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    with selectors.DefaultSelector() as ready:
        ready.register(0, selectors.EVENT_READ)
        ready.register(woken, selectors.EVENT_READ)
        unread = b""
        while True:
            for key, _ in ready.select():
                if key.fd == woken:
                    os.read(woken, 4096)
                    continue
                received = os.read(0, 65536)
                if not received:
                    _kill(running)
                    return 0
                *lines, unread = (unread + received).split(b"\n")
                for line in lines:
                    job = json.loads(line)
                    pid = os.fork()
                    if pid == 0:
                        ready.close()
                        _become_stage(job, close=(answers, woken, waker))
                    # A group for each stage, so that what it starts ends with it.
                    _own_group(pid)
                    running[pid] = job["job"]
                    _answer(answers, job=job["job"], pid=pid)
            _reap(running, answers)


def _reap(running: dict[int, str], answers: int) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        job = running.pop(pid, None)
        if job is not None:
            _answer(answers, job=job, pid=pid, code=os.waitstatus_to_exitcode(status))


def _answer(answers: int, **row: object) -> None:
    os.write(answers, json.dumps(row).encode() + b"\n")


def _own_group(pid: int) -> None:
    """Done on both sides of the fork, so that neither can be early; 0 is this process."""
    try:
        os.setpgid(pid, pid)
    except (ProcessLookupError, PermissionError):  # it is gone already, or already has it
        return


def _kill(running: Iterable[int]) -> None:
    for pid in running:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _become_stage(job: dict[str, str], close: Iterable[int]) -> None:
    """In the forked child: a process group, standard streams and signals of its own; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGCHLD, signal.SIGTERM):  # the others of STOPS stay the runner's
            signal.signal(number, signal.SIG_DFL)
        _own_group(0)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for end in close:
            os.close(end)
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        from pipeline.run.worker import run_job

        code = run_job(Path(job["job"]))
    except BaseException:  # nothing of the child may reach the loop above
        traceback.print_exc()
    finally:
        # Skipped by os._exit, and pools of sandboxes and oracles are closed there.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # taking the libraries down in order would take a while and frees nothing that matters
