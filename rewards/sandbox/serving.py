"""The program's side of a data set's own tests: its child answers what the child of the tests asks of it.

Values that are not plain stay here, under a number, for as long as the tests may ask for them: their attributes, calls,
lengths, items. Instances of the classes in "classes", which the tests define themselves, go over by what they hold.
"""

import builtins
import json
from collections.abc import Callable, Mapping
from typing import Any

from rewards.sandbox.instances import Instances
from rewards.sandbox.outcomes import BROKEN, MISSING, RAISED, called, compiled, failure, load, namespace_of, outcome
from rewards.sandbox.values import TYPES, decoded, encoded
from rewards.sandbox.wire import Channel

OPERATIONS: Mapping[str, Callable[..., object]] = {
    "__len__": len, "__getitem__": lambda x, key: x[key], "__iter__": iter, "__next__": next, "__str__": str,
    "__repr__": repr,
    "__setitem__": lambda x, key, value: x.__setitem__(key, value), "__delitem__": lambda x, key: x.__delitem__(key),
    "__int__": int, "__float__": float, "__call__": lambda x, *arguments, **named: x(*arguments, **named),
}
"""What the tests may do with a value that stays here. Comparing is not among it: a program could say anything."""


class Missing(Exception):
    """The program defines nothing of the name that is asked for."""


def serve(task: Mapping[str, Any], channel: Channel) -> None:
    """Run the program, then answer until the other side has had enough."""
    namespace = namespace_of("solution")
    try:
        load({**task, "code": _without_what_follows(task["code"], task["given"])}, namespace)
    except BaseException as error:
        channel.send(failure(BROKEN, error).encode())
        return
    channel.send(b'["value",null]')
    served = _Served(namespace, task.get("classes", ()))
    while True:
        request = json.loads(channel.receive())
        try:
            said = f'["value",{served.answer(*request)}]'
        except Missing as error:
            said = outcome(MISSING, str(error))
        except BaseException as error:
            said = failure(RAISED, error, _builtin(error))
        channel.send(said.encode())


def _without_what_follows(code: str, given: int | None) -> str:
    """The code; where it goes on with the `given` lines of a function, as far as it is Python.

    Base models do not end behind the function: they begin another, or words, which the end of their tokens cuts. From
    the line that is back at the margin on, where that is no Python, the function has ended.
    """
    if given is None:
        return code
    lines = code.split("\n")
    while True:  # cutting the head of a function off leaves its decorators
        try:
            compiled("\n".join(lines))
        except SyntaxError as error:
            last = min(error.lineno or 0, len(lines))
            at_margin = [number for number in range(given, last) if lines[number] and not lines[number][0].isspace()]
            if at_margin:
                del lines[at_margin[-1] :]
                continue
        return "\n".join(lines)


def _builtin(error: BaseException) -> str:
    """The nearest class of an exception that every Python has."""
    return next((kind.__name__ for kind in type(error).__mro__ if vars(builtins).get(kind.__name__) is kind), "")


class _Served:
    def __init__(self, namespace: Mapping[str, Any], classes: Any) -> None:
        self._namespace = namespace
        self._kept: list[object] = []
        self._instances = Instances(namespace, classes)

    def answer(self, what: str, *request: Any) -> str:
        """The encoded value that a request comes to. Raises what the program does."""
        if what == "call":
            name, arguments, named = request
            function = called(self._namespace, name)
            if function is None:
                raise Missing(f"the program defines no {name}")
            return self._encoded(self._applied(function, arguments, named))
        number, name, *more = request
        value = self._kept[number]
        if what == "get":
            return self._encoded(getattr(value, name))
        if what == "set":
            setattr(value, name, self._decoded(more[0]))
            return "null"
        return self._encoded(self._applied(OPERATIONS[name], more[0], more[1], value))

    def _applied(self, function: Callable[..., object], arguments: list[Any], named: dict[str, Any], *first: object
                 ) -> object:
        values = [self._decoded(value) for value in arguments]
        return function(*first, *values, **{key: self._decoded(value) for key, value in named.items()})

    def _encoded(self, value: object) -> str:
        return encoded(value, self._keep)

    def _decoded(self, value: object) -> object:
        return decoded(value, self._known)

    def _keep(self, value: object) -> str:
        if value in self._instances:
            return self._instances.encoded(value)
        self._kept.append(value)
        return f'["object",{len(self._kept) - 1}]'

    def _known(self, tag: str, rest: list[Any]) -> object:
        if tag == "instances":
            return self._instances.decoded(rest)
        return TYPES[rest[0]] if tag == "type" else self._kept[rest[0]]
