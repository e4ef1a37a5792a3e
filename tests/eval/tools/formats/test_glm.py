"""Calls as GLM writes them."""

import pytest

from eval.tools.formats.glm import HOW, read
from eval.tools.tool import Call, Tool

TOOLS = {"look": Tool("look", {"function": {"name": "look", "parameters": {"properties": {
    "words": {"type": "string"}, "most": {"type": "integer"}}}}}, str)}


@pytest.mark.parametrize(("inside", "arguments"), [
    ("look\n<arg_key>words</arg_key>\n<arg_value>3 + 4</arg_value>\n", {"words": "3 + 4"}),
    ("look<arg_key>words</arg_key><arg_value>12</arg_value><arg_key>most</arg_key><arg_value>12</arg_value>",
     {"words": "12", "most": 12}),
    ("look\n<arg_key>words</arg_key>\n<arg_value> two\n\nlines\n</arg_value>\n", {"words": " two\n\nlines\n"}),
    ("look", {}),
])
def test_calls_are_read(inside: str, arguments: dict[str, object]) -> None:
    assert read(inside, TOOLS) == Call("look", arguments)


@pytest.mark.parametrize("inside", ["", "<arg_key>words</arg_key>", "look\nthree\n", '\n{"name":\n"look"}'])
def test_what_is_no_call_is_told(inside: str) -> None:
    assert read(inside, TOOLS) == Call("", {}, HOW)
