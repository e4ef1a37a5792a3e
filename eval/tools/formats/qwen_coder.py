"""The form of Qwen3-Coder, Qwen3.5 and Nemotron 3, an argument between tags of its own:

    <tool_call>
    <function=calculator>
    <parameter=expression>
    3 + 4
    </parameter>
    </function>
    </tool_call>
"""

import re
from collections.abc import Mapping

from eval.tools.formats.arguments import typed
from eval.tools.tool import Call, Tool

HOW = "a call is <function=NAME>, a <parameter=NAME> with its </parameter> for each argument, and </function>"

_FUNCTION = re.compile(r"\s*<function=([^>\n]+)>(.*?)(?:</function>)?\s*", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


def read(inside: str, tools: Mapping[str, Tool]) -> Call:
    """What stands between the tags."""
    found = _FUNCTION.fullmatch(inside)
    if found is None:
        return Call("", {}, HOW)
    name, parameters = found.group(1).strip(), found.group(2)
    if _PARAMETER.sub("", parameters).strip():
        return Call(name, {}, HOW)
    return typed(name, _PARAMETER.findall(parameters), tools)
