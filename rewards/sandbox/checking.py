"""The tests' side of a data set's own tests: what they call is a proxy that asks the child of the program."""

import builtins
import functools
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rewards.sandbox.instances import Instances
from rewards.sandbox.outcomes import (
    BROKEN,
    LATE,
    MISSING,
    RAISED,
    VALUE,
    compiled,
    execute,
    failure,
    namespace_of,
    outcome,
    quoted,
)
from rewards.sandbox.serving import OPERATIONS
from rewards.sandbox.values import TYPES, decoded, encoded
from rewards.sandbox.wire import Channel

_COMPARISONS = ("allclose", "isclose", "array_equiv", "testing.assert_allclose", "testing.assert_almost_equal",
                "testing.assert_array_almost_equal", "testing.assert_array_equal", "testing.assert_array_less")
"""Those of NumPy that say of an empty list and a number that they are the same."""


class CandidateError(Exception):
    """What the candidate raised, where it is no exception of Python's own, or that its value cannot be used."""


class CandidateEnded(BaseException):
    """The candidate has no function of that name, or raised what ends a program: no test that expects an exception
    takes it for one."""


class CandidateLate(BaseException):
    """The candidate took too long: no further test is run."""


class _CannotAsk(BaseException):
    """The tests hand the candidate what cannot be sent to it, which is no fault of its; `except Exception` lets it
    through."""


class _Remote:
    """A value of the candidate that is not plain: it can be handed back, used and asked for its attributes, and is
    equal to nothing."""

    # Every other name is an attribute of the value over there, which has to be asked for it.
    __slots__ = ("_number", "_program")
    _program: "_Program"
    _number: int
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, program: "_Program", number: int) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._program.ask("get", str(self._number), quoted(name))

    def __setattr__(self, name: str, value: object) -> None:
        self._program.ask("set", str(self._number), quoted(name), self._program.encoded(value))

    # Neither True nor False would do: either `assert a == b` or `assert a != b` would pass.
    def _refuse(self, *_: object) -> bool:
        raise CandidateError("a value that is not plain data cannot be compared")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __contains__ = _refuse


def _operation(name: str) -> Callable[..., object]:
    def operate(self: _Remote, *arguments: object, **named: object) -> object:
        return self._program.ask("do", str(self._number), quoted(name), *self._program.arguments(arguments, named))

    return operate


for _name in OPERATIONS:
    setattr(_Remote, _name, _operation(_name))


class _Program:
    """The child where the candidate is, asked through the grader."""

    def __init__(self, channel: Channel, instances: Instances) -> None:
        self._channel = channel
        self._instances = instances
        self.asked = False
        """Until the candidate was asked for something, whatever goes wrong is the tests' own fault."""
        self._late: CandidateLate | None = None

    def ask(self, what: str, *parts: str) -> object:
        """The value that a question comes to. Raises what the candidate did."""
        self.asked = True
        self._channel.send(f"[{','.join([quoted(what), *parts])}]".encode())
        kind, value, *more = json.loads(self._channel.receive())
        if kind == LATE:
            self._late = CandidateLate(value)
        self.require_in_time()
        if kind != VALUE:
            raise _exception(kind, value, *more)
        return decoded(value, self._known)

    def require_in_time(self) -> None:
        """Raises CandidateLate, also where a test has caught it."""
        if self._late is not None:
            raise self._late

    def proxy(self, name: str) -> Callable[..., object]:
        """A function that asks for a call of what the program calls `name`."""
        def candidate(*arguments: object, **named: object) -> object:
            return self.ask("call", quoted(name), *self.arguments(arguments, named))

        return candidate

    def arguments(self, arguments: tuple[object, ...], named: Mapping[str, object]) -> tuple[str, str]:
        """JSON of both. Raises _CannotAsk."""
        pairs = ",".join(f"{quoted(key)}:{self.encoded(value)}" for key, value in named.items())
        return f"[{','.join(map(self.encoded, arguments))}]", f"{{{pairs}}}"

    def encoded(self, value: object) -> str:
        """JSON of a value. Raises _CannotAsk."""
        try:
            return encoded(value, self._keep)
        except TypeError as error:  # what is nested too deeply, a ValueError, may be the candidate's doing
            raise _CannotAsk(str(error)) from error

    def _keep(self, value: object) -> str:
        if isinstance(value, _Remote):
            return f'["object",{value._number}]'
        if value in self._instances:
            return self._instances.encoded(value)
        raise TypeError(f"a value of type {type(value).__name__} cannot be handed to the program")

    def _known(self, tag: str, rest: list[Any]) -> object:
        if tag == "instances":
            return self._instances.decoded(rest)
        if tag == "type":
            return TYPES[rest[0]]
        if type(rest[0]) is not int:
            raise ValueError("not an encoded value")
        return _Remote(self, rest[0])


class _Verbatim(str):
    """What a KeyError was raised with, of which the text is known."""

    __repr__ = str.__str__
    __slots__ = ()


def _key(said: str) -> str:
    """What a KeyError was raised with: its text is how Python writes that, and not that itself."""
    return said[1:-1] if repr(said[1:-1]) == said else _Verbatim(said)


def _exception(kind: object, text: object, base: object = "", *_: object) -> BaseException:
    """The exception that the candidate raised, as far as both sides have its class."""
    found = vars(builtins).get(base) if isinstance(base, str) else None
    if kind == MISSING or not (isinstance(found, type) and issubclass(found, Exception)):
        ended = kind == MISSING or isinstance(found, type)
        return CandidateEnded(text) if ended else CandidateError(text)
    name, said = str(text).partition(": ")[::2]
    if found is KeyError and name == base:
        return KeyError(*[_key(said)] if said else [])
    try:
        return found(said if name == base else text)
    except TypeError:  # one that takes more than a text
        return CandidateError(text)


def _look_at_emptiness() -> None:
    """Have NumPy's comparisons here, in the tests' process, raise AssertionError where one side alone is empty."""
    numpy: Any = sys.modules.get("numpy")  # a module that need not be there
    if numpy is None:
        return
    for path in _COMPARISONS:
        module, name = (numpy.testing if "." in path else numpy), path.rpartition(".")[2]
        setattr(module, name, _looking_at_emptiness(numpy, getattr(module, name)))


def _looking_at_emptiness(numpy: Any, compare: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(compare)
    def compared(*arguments: object, **named: object) -> object:
        one, other = [numpy.shape(value) for value in (*arguments, *named.values())[:2]]
        # It is broadcast to no comparison at all, of which nothing can be false.
        if one != other and (0 in one or 0 in other):
            raise AssertionError(f"shapes {one} and {other}, of which one is empty")
        return compare(*arguments, **named)

    return compared


def check(task: Mapping[str, Any], channel: Channel) -> None:
    """Run the tests and state ["done", passed, of how many, why not all], or ["unusable", 0, 0, why] of the tests
    themselves."""
    namespace = namespace_of("check")
    program = _Program(channel, Instances(namespace, task.get("classes", ())))
    tests: list[Callable[[], object]] = []
    passed, why = 0, "null"
    _look_at_emptiness()
    try:
        if "asserts" in task:
            # Before anything is asked: what is no Python is no program's fault.
            tests = [functools.partial(exec, compiled(source), namespace) for source in task["asserts"]]
            execute(task["support"], namespace)
            # After it, since it may use the same names for something of its own.
            namespace.update({name: program.proxy(name) for name in task["names"]})
            execute(task["setup"], namespace)
        else:
            execute(task["setup"], namespace)
            namespace[task["candidate"]] = program.proxy(task["candidate"])  # HumanEval/33 calls it by its own name
            execute(task["check"], namespace)
            tests = [functools.partial(namespace["check"], program.proxy(task["candidate"]))]
        for test in tests:
            try:
                test()
                program.require_in_time()
                passed += 1
            except (Exception, CandidateEnded) as error:
                why = failure(RAISED, error) if why == "null" else why
    except (Exception, CandidateEnded, CandidateLate, _CannotAsk) as error:
        if isinstance(error, _CannotAsk) or not program.asked:
            channel.send(f'["unusable",0,0,{failure(BROKEN, error)}]'.encode())
            return
        if why == "null":  # else a test has failed before
            # What the candidate gave spoiled the preparation of its tests, where it was not late.
            why = outcome(LATE, str(error)) if isinstance(error, CandidateLate) else failure(RAISED, error)
    channel.send(f'["done",{passed},{max(len(tests), 1)},{why}]'.encode())
