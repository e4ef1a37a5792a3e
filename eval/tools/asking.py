"""Putting a call to a tool: whatever the tool does, what comes back is a text that a model can read."""

from collections.abc import Mapping
from typing import Any  # arguments are JSON

from eval.tools.tool import Call, Tool
from rewards.errors import RetortError
from rewards.registry import did_you_mean

LONGEST = 8_000
"""Characters of what a tool says. A recipe's bound in tokens is lower."""


def observation(tools: Mapping[str, Tool], call: Call) -> str:
    """What the tool says, or why it says nothing, which begins with "error". Raises RetortError for what no model is to
    blame for, and a person has to mend: a tool's file was edited, programs cannot be run on this machine."""
    if call.fault:
        return f"error: {call.fault}"
    tool = tools.get(call.tool)
    if tool is None:
        return f"error: there is no tool {call.tool[:80]!r}{did_you_mean(call.tool, tools)}"
    if wrong := _wrong(tool, call):
        return f"error: {wrong}"
    try:
        said = str(tool.function(**_given(tool, call)))
    except RetortError:
        raise
    except Exception as error:  # a tool may raise anything, and the model is to hear of it
        said = f"error: {' '.join(str(error).split()) or type(error).__name__}"
    return said if len(said) <= LONGEST else f"{said[:LONGEST]} (cut, of {len(said):,} characters)"


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,),
}


def _wrong(tool: Tool, call: Call) -> str:
    """What is wrong with the arguments of a call; "" where nothing is."""
    given, known = call.arguments, tool.parameters
    if unknown := [name for name in given if name not in known]:
        return f"{tool.name} has no argument {unknown[0][:80]!r}{did_you_mean(unknown[0], known)}"
    if missing := [name for name in tool.required if name not in given]:
        return f"{tool.name} needs the argument {missing[0]!r}"
    for name, value in given.items():
        wanted = known[name]
        if value is None and wanted.get("nullable"):
            continue
        if not _is_of(value, wanted.get("type")):
            return f"the argument {name!r} of {tool.name} is of the type {_named(wanted['type'])}"
        if value not in wanted.get("enum", [value]):
            return f"the argument {name!r} of {tool.name} is one of {', '.join(map(str, wanted['enum']))}"
    return ""


def _is_of(value: object, wanted: object) -> bool:
    """Whether a value is of a type of JSON Schema, or of one of several."""
    if isinstance(wanted, list):
        return any(_is_of(value, one) for one in wanted)
    types = _TYPES.get(wanted, ()) if isinstance(wanted, str) else ()
    if not types:
        return True
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, types) or (wanted == "integer" and _is_whole(value))


def _is_whole(value: object) -> bool:
    """Whether a number is a whole one that is written as 3.0."""
    return isinstance(value, float) and value.is_integer()


def _named(wanted: str | list[str]) -> str:
    return wanted if isinstance(wanted, str) else " or ".join(wanted)


def _given(tool: Tool, call: Call) -> dict[str, Any]:
    """The arguments of a call, whole numbers as such: 3.0 is an integer of JSON, and none of Python."""
    return {name: int(value) if tool.parameters[name].get("type") == "integer" and _is_whole(value) else value
            for name, value in call.arguments.items()}
