"""What a child does with its task.

The child is locked in by now. What it writes counts as answers and never as a verdict, so that lies gain it nothing.

A task is JSON with a "mode":
  call    {"code", "entry", "inputs"}        calls one function once per input and states all outcomes in one frame,
                                             or with "apart" each in a frame of its own; with "typed" the
                                             inputs are encoded, too
  print   {"code", "stdin"}                  runs a script and states what it printed
  serve   {"code"}                           runs a program, then answers requests to call its names, until the end
  check   {"setup", "check", "candidate"}    runs tests of a data set; what they test is a proxy that asks a
       or {"support", "setup", "asserts",    serving child
           "names"}
In each the program may have a "prelude", which runs before it in the same namespace. An "entry" is the name of a
function, or "Solution().f", a method of an instance that is made for every call. An outcome is ["value", encoded], or
["raised" | "missing" | "broken", one line].
"""

import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rewards.sandbox.checking import check
from rewards.sandbox.outcomes import BROKEN, MISSING, RAISED, called, failure, load, namespace_of, outcome
from rewards.sandbox.serving import serve
from rewards.sandbox.streams import LARGEST_OUTPUT, as_descriptors, redirect
from rewards.sandbox.values import decoded, encoded
from rewards.sandbox.wire import Channel


def run(task: Mapping[str, Any], channel: Channel) -> None:
    """Do the task and write its frames."""
    match task["mode"]:
        case "call":
            _call(task, channel.send)
        case "print":
            _print(task, channel)
        case "serve":
            serve(task, channel)
        case "check":
            check(task, channel)


def _call(task: Mapping[str, Any], send: Callable[[bytes], object]) -> None:
    entry, outcomes = task["entry"], []

    def state(one: str) -> None:
        if "apart" in task:
            send(f"[{one}]".encode())
        else:
            outcomes.append(one)

    namespace = namespace_of("solution")
    try:
        load(task, namespace)
        function = called(namespace, entry)
        if function is None:
            state(outcome(MISSING, f"the program defines no function {entry}"))
        else:
            read: Callable[[Any], Any] = decoded if "typed" in task else list
            for arguments in task["inputs"]:
                try:
                    state(f'["value",{encoded(function(*read(arguments)))}]')
                except Exception as error:
                    state(failure(RAISED, error))
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: the outcomes so far are stated
        state(failure(BROKEN, error))
    if "apart" not in task:
        send(f"[{','.join(outcomes)}]".encode())


def _print(task: Mapping[str, Any], channel: Channel) -> None:
    sink = redirect(task["stdin"], LARGEST_OUTPUT)
    as_descriptors(sink)
    # Kept before the program runs, which may put something else in its place.
    out = sys.stdout
    try:
        with contextlib.suppress(SystemExit):
            load(task, namespace_of("__main__"))
        # As where Python ends: what threads print that are no daemons is output, too.
        if (threading := sys.modules.get("threading")) is not None:
            threading._shutdown()
        for stream in (sys.stdout, out):  # the program may have put its own in place, or nothing
            with contextlib.suppress(AttributeError, ValueError, OSError):
                stream.flush()
        said = f'["value",{encoded(sink.text())}]'
    except BaseException as error:
        said = failure(BROKEN, error)
    channel.send(said.encode())
