"""How code is run in a child, and how what came of it is written.

JSON is put together by hand here and wherever children write it: the machinery of json.dumps, run for the first time in
a fresh child, takes longer than most programs.
"""

import builtins
import json
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

VALUE, RAISED, MISSING, BROKEN, LATE = "value", "raised", "missing", "broken", "late"

quoted = json.encoder.encode_basestring_ascii


def namespace_of(name: str) -> dict[str, Any]:
    return {"__name__": name, "__builtins__": builtins}


def compiled(code: str) -> CodeType:
    # dont_inherit: the __future__ imports of this file are not the program's.
    return compile(code, "<solution>", "exec", dont_inherit=True)


def execute(code: str, namespace: dict[str, Any]) -> None:
    exec(compiled(code), namespace)


def load(task: Mapping[str, Any], namespace: dict[str, Any]) -> None:
    """Run the program of a task, and its prelude before it: apart, since a program may begin with an import from
    __future__."""
    execute(task.get("prelude", ""), namespace)
    execute(task["code"], namespace)


def called(namespace: Mapping[str, Any], entry: str) -> Callable[..., object] | None:
    """What an entry stands for in a program; None where it has nothing of this name."""
    owner, _, name = entry.rpartition("().")
    # Who asks for a method takes a function of the same name, too, as the data sets' own graders do.
    if owner in namespace:
        return lambda *arguments, **named: getattr(namespace[owner](), name)(*arguments, **named)
    function = namespace.get(name)
    return function if callable(function) else None


def outcome(what: str, text: str, *more: str) -> str:
    return f"[{','.join([quoted(what), quoted(text[:200]), *map(quoted, more)])}]"


def failure(what: str, error: BaseException, *more: str) -> str:
    """An outcome for an exception, whose text may itself raise anything."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:
        text = "an exception that cannot be written"
    return outcome(what, text, *more)
