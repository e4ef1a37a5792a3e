"""Putting a call to a tool: whatever the tool does, what comes back is a text that a model can read."""

from collections.abc import Mapping

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
        said = str(tool.function(**call.arguments))
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
        wanted = known[name].get("type")
        types = _TYPES.get(wanted, ()) if isinstance(wanted, str) else ()
        if types and (not isinstance(value, types) or (isinstance(value, bool) and wanted != "boolean")):
            return f"the argument {name!r} of {tool.name} is of the type {wanted}"
    return ""
