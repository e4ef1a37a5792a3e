"""What a child does with its task.

The child is locked in by now. What it writes counts as answers and never as a verdict, so that lies gain it nothing.

A task is JSON with a "mode":
  call    {"code", "entry", "inputs"}        calls one function once per input and states all outcomes in one frame,
                                             or with "apart" each in a frame of its own; with "typed" the
                                             inputs are encoded, too
  print   {"code", "stdin"}                  runs a script and states what it printed
  serve   {"code"}                           runs a program, then answers requests to call its names, until the end
  check   {"setup", "check", "candidate"}    runs tests of a data set; what they test is a proxy that asks a
       or {"setup", "asserts", "names"}      serving child
In each the program may have a "prelude", which runs before it in the same namespace. An "entry" is the name of a
function, or "Solution().f", a method of an instance that is made for every call. An outcome is ["value", encoded], or
["raised" | "missing" | "broken", one line].
"""

import builtins
import contextlib
import functools
import io
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rewards.sandbox.streams import LARGEST_OUTPUT, redirect
from rewards.sandbox.values import decoded, encoded
from rewards.sandbox.wire import Channel

# JSON is put together by hand in this file: the machinery of json.dumps, run for the first time in a fresh child, takes
# longer than most programs.
_quoted = json.encoder.encode_basestring_ascii

VALUE, RAISED, MISSING, BROKEN = "value", "raised", "missing", "broken"


def run(task: Mapping[str, Any], channel: Channel) -> None:
    """Do the task and write its frames."""
    match task["mode"]:
        case "call":
            _call(task, channel.send)
        case "print":
            _print(task, channel)
        case "serve":
            _serve(task, channel)
        case "check":
            _check(task, channel)


def _call(task: Mapping[str, Any], send: Callable[[bytes], object]) -> None:
    entry, outcomes = task["entry"], []

    def state(outcome: str) -> None:
        if "apart" in task:
            send(f"[{outcome}]".encode())
        else:
            outcomes.append(outcome)

    namespace = _namespace("solution")
    try:
        _load(task, namespace)
        function = _called(namespace, entry)
        if function is None:
            state(_outcome(MISSING, f"the program defines no function {entry}"))
        else:
            read: Callable[[Any], Any] = decoded if "typed" in task else list
            for arguments in task["inputs"]:
                try:
                    state(f'["value",{encoded(function(*read(arguments)))}]')
                except Exception as error:
                    state(_failure(RAISED, error))
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: the outcomes so far are stated
        state(_failure(BROKEN, error))
    if "apart" not in task:
        send(f"[{','.join(outcomes)}]".encode())


def _load(task: Mapping[str, Any], namespace: dict[str, Any]) -> None:
    # Apart, since a program may begin with an import from __future__.
    _execute(task.get("prelude", ""), namespace)
    _execute(task["code"], namespace)


def _called(namespace: Mapping[str, Any], entry: str) -> Callable[..., object] | None:
    """What an entry stands for in a program; None where it has nothing of this name."""
    owner, _, name = entry.rpartition("().")
    # Who asks for a method takes a function of the same name, too, as the data sets' own graders do.
    if owner in namespace:
        return lambda *arguments, **named: getattr(namespace[owner](), name)(*arguments, **named)
    function = namespace.get(name)
    return function if callable(function) else None


def _print(task: Mapping[str, Any], channel: Channel) -> None:
    stdin = task["stdin"]
    sink = redirect(stdin, LARGEST_OUTPUT)
    # Kept before the program runs, which may put something else in the place of both.
    out, plain_open = sys.stdout, builtins.open

    def open_(file: Any, *arguments: Any, **options: Any) -> Any:
        """`open(0)` is a common way to read all input; there is no descriptor 0 here."""
        if file in (0, "/dev/stdin") and not isinstance(file, bool):
            return io.StringIO(stdin)
        return plain_open(file, *arguments, **options)

    builtins.open = open_
    try:
        with contextlib.suppress(SystemExit):
            _load(task, _namespace("__main__"))
        for stream in (sys.stdout, out):  # the program may have put its own in place, or nothing
            with contextlib.suppress(AttributeError, ValueError, OSError):
                stream.flush()
        outcome = f'["value",{encoded(sink.text())}]'
    except BaseException as error:
        outcome = _failure(BROKEN, error)
    channel.send(outcome.encode())


def _serve(task: Mapping[str, Any], channel: Channel) -> None:
    namespace = _namespace("solution")
    # Values that are not plain stay here for as long as the tests may ask for them by number.
    kept: list[object] = []

    def keep(value: object) -> int:
        kept.append(value)
        return len(kept) - 1

    try:
        _load(task, namespace)
    except BaseException as error:
        channel.send(_failure(BROKEN, error).encode())
        return
    channel.send(b'["value",null]')
    while True:
        what, *request = json.loads(channel.receive())
        try:
            if what == "call":
                name, arguments, named = request
                function = _called(namespace, name)
                if function is None:
                    raise NameError(f"the program defines no {name}")
                values = [decoded(value, kept.__getitem__) for value in arguments]
                named = {key: decoded(value, kept.__getitem__) for key, value in named.items()}
                result = function(*values, **named)
            elif what == "get":
                number, attribute = request
                result = getattr(kept[number], attribute)
            else:
                number, attribute, value = request
                setattr(kept[number], attribute, decoded(value, kept.__getitem__))
                result = None
            outcome = f'["value",{encoded(result, keep)}]'
        except BaseException as error:
            outcome = _failure(RAISED, error)
        channel.send(outcome.encode())


class CandidateError(Exception):
    """What the candidate raised, or that its value cannot be used; the message is its own."""


class _CannotAsk(BaseException):
    """The tests hand the candidate what cannot be sent to it, which is no fault of its; `except Exception` lets it
    through."""


class _Remote:
    """A value of the candidate that is not plain: it can be handed back and has attributes, and is equal to nothing."""

    # Every other name is an attribute of the value over there, which has to be asked for it.
    __slots__ = ("_ask", "_number")
    _ask: Callable[..., object]
    _number: int
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, ask: Callable[..., object], number: int) -> None:
        object.__setattr__(self, "_ask", ask)
        object.__setattr__(self, "_number", number)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("get", str(self._number), _quoted(name))

    def __setattr__(self, name: str, value: object) -> None:
        self._ask("set", str(self._number), _quoted(name), encoded(value, _number_of))

    # Neither True nor False would do: either `assert a == b` or `assert a != b` would pass.
    def _refuse(self, *_: object) -> bool:
        raise CandidateError("a value that is not plain data cannot be compared")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __contains__ = _refuse


def _number_of(value: object) -> int:
    if not isinstance(value, _Remote):
        raise TypeError(f"a value of type {type(value).__name__} cannot be handed to the program")
    return value._number


def _check(task: Mapping[str, Any], channel: Channel) -> None:
    """Run the tests and state ["done", passed, of how many, why not all], or ["unusable", 0, 0, why] of the tests
    themselves."""
    # Until the candidate was asked for something, whatever goes wrong is the tests' own fault.
    asked = False

    def ask(*parts: str) -> object:
        nonlocal asked
        asked = True
        what, *rest = parts
        channel.send(f"[{','.join([_quoted(what), *rest])}]".encode())
        kind, value = json.loads(channel.receive())
        if kind != VALUE:
            raise CandidateError(value)
        return decoded(value, lambda number: _Remote(ask, number))

    def proxy(name: str) -> Callable[..., object]:
        def candidate(*arguments: object, **named: object) -> object:
            try:
                values = ",".join(encoded(value, _number_of) for value in arguments)
                pairs = ",".join(f"{_quoted(key)}:{encoded(value, _number_of)}" for key, value in named.items())
            except TypeError as error:
                raise _CannotAsk(str(error)) from error
            return ask("call", _quoted(name), f"[{values}]", f"{{{pairs}}}")

        return candidate

    namespace = _namespace("check")
    tests: list[Callable[[], object]] = []
    passed, why = 0, "null"
    try:
        if "asserts" in task:
            namespace.update({name: proxy(name) for name in task["names"]})
            _execute(task["setup"], namespace)
            tests = [functools.partial(_execute, source, namespace) for source in task["asserts"]]
        else:
            _execute(task["setup"], namespace)
            namespace[task["candidate"]] = proxy(task["candidate"])  # HumanEval/33 calls it by its own name
            _execute(task["check"], namespace)
            tests = [functools.partial(namespace["check"], proxy(task["candidate"]))]
        for test in tests:
            try:
                test()
                passed += 1
            except Exception as error:
                why = _failure(RAISED, error) if why == "null" else why
    except (Exception, _CannotAsk) as error:
        if isinstance(error, _CannotAsk) or not asked:
            channel.send(f'["unusable",0,0,{_failure(BROKEN, error)}]'.encode())
            return
        why = _failure(RAISED, error)  # what the candidate gave spoiled the preparation of its tests
    channel.send(f'["done",{passed},{max(len(tests), 1)},{why}]'.encode())


def _namespace(name: str) -> dict[str, Any]:
    return {"__name__": name, "__builtins__": builtins}


def _execute(code: str, namespace: dict[str, Any]) -> None:
    # dont_inherit: the __future__ imports of this file are not the program's.
    exec(compile(code, "<solution>", "exec", dont_inherit=True), namespace)


def _outcome(what: str, text: str) -> str:
    return f'["{what}",{_quoted(text[:200])}]'


def _failure(what: str, error: BaseException) -> str:
    """An outcome for an exception, whose text may itself raise anything."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:
        text = "an exception that cannot be written"
    return _outcome(what, text)
