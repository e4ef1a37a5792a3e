"""The form of GLM-4.5 and later ones, the names of arguments and what they are between tags of their own:

    <tool_call>calculator
    <arg_key>expression</arg_key>
    <arg_value>3 + 4</arg_value>
    </tool_call>
"""

import re
from collections.abc import Mapping

from eval.tools.formats.arguments import typed
from eval.tools.tool import Call, Tool

HOW = "a call is the tool's name, and an <arg_key>..</arg_key> with its <arg_value>..</arg_value> for each argument"

_PAIR = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)


def read(inside: str, tools: Mapping[str, Tool]) -> Call:
    """What stands between the tags."""
    name, rest = _PAIR.sub("", inside).strip(), _PAIR.findall(inside)
    if not name or "\n" in name or "<" in name:
        return Call("", {}, HOW)
    return typed(name, rest, tools)
