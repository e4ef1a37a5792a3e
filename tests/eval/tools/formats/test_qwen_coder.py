"""Calls as Qwen3-Coder and its like write them."""

import pytest

from eval.tools.formats.qwen_coder import HOW, read
from eval.tools.tool import Call, Tool

TOOLS = {"look": Tool("look", {"function": {"name": "look", "parameters": {"properties": {
    "words": {"type": "string"}, "most": {"type": "integer", "nullable": True}, "exact": {"type": "boolean"},
    "places": {"type": "array"}, "until": {"type": "string", "nullable": True},
}}}}, str)}


@pytest.mark.parametrize(("parameters", "arguments"), [
    ("<parameter=words>\n3 + 4\n</parameter>\n", {"words": "3 + 4"}),
    ("<parameter=words>\n\n  two\n\nlines\n\n</parameter>\n", {"words": "\n  two\n\nlines\n"}),
    ("<parameter=words>\n12\n</parameter>\n<parameter=most>\n12\n</parameter>\n", {"words": "12", "most": 12}),
    ("<parameter=exact>\nTrue\n</parameter><parameter=places>[1, null]</parameter>",
     {"exact": True, "places": [1, None]}),
    ("<parameter=most>\nNone\n</parameter>\n<parameter=until>\nnull\n</parameter>", {"most": None, "until": None}),
    ("<parameter=words>null</parameter>", {"words": "null"}),
    ("<parameter=most>\nmany\n</parameter>\n", {"most": "many"}),
    ("<parameter=other>\n12\n</parameter>\n", {"other": "12"}),
    ("", {}),
])
def test_arguments_are_of_the_types_that_the_tool_wants(parameters: str, arguments: dict[str, object]) -> None:
    assert read(f"\n<function=look>\n{parameters}</function>\n", TOOLS) == Call("look", arguments)


def test_of_a_tool_that_there_is_not_all_is_text() -> None:
    assert read("<function=see>\n<parameter=most>\n12\n</parameter>", TOOLS) == Call("see", {"most": "12"})


@pytest.mark.parametrize(("inside", "name"), [
    ('{"name": "look", "arguments": {}}', ""), ("", ""),
    ("<function=look>\nthree\n</function>", "look"), ("<function=look>\n<parameter=words>\nthree\n</function>", "look"),
])
def test_what_is_no_call_is_told(inside: str, name: str) -> None:
    assert read(inside, TOOLS) == Call(name, {}, HOW)
