"""The form of Hermes and Qwen, which is JSON:

    <tool_call>
    {"name": "calculator", "arguments": {"expression": "3 + 4"}}
    </tool_call>
"""

import json
from collections.abc import Mapping

from eval.tools.tool import Call, Tool


def read(inside: str, _: Mapping[str, Tool]) -> Call:
    """What stands between the tags. JSON says itself of what type an argument is, whatever the tools want."""
    try:
        call = json.loads(inside)
    except (ValueError, RecursionError) as error:
        return Call("", {}, f"the call is no JSON ({' '.join(str(error).split())})")
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return Call("", {}, 'a call is {"name": .., "arguments": {..}}')
    arguments = call.get("arguments", {})
    if not isinstance(arguments, dict):
        return Call(call["name"], {}, "the arguments are no JSON object")
    return Call(call["name"], arguments)
