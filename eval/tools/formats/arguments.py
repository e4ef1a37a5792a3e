"""Arguments that are written as text: what type they have, the tool says."""

from collections.abc import Mapping, Sequence

from eval.tools.tool import Call, Tool


def typed(name: str, arguments: Sequence[tuple[str, str]], tools: Mapping[str, Tool]) -> Call:
    """A call with arguments whose names and texts are given. Of a tool that there is not, all are text."""
    tool = tools.get(name)
    return Call(name, {key.strip(): tool.argument(key.strip(), text) if tool else text for key, text in arguments})
