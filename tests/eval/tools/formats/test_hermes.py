"""Calls as Hermes and Qwen write them."""

import pytest

from eval.tools.formats.hermes import read
from eval.tools.tool import Call


@pytest.mark.parametrize(("inside", "call"), [
    ('\n{"name": "calculator", "arguments": {"expression": "1 + 1"}}\n', Call("calculator", {"expression": "1 + 1"})),
    ('{"name": "a"}', Call("a", {})),
    ("12", Call("", {}, 'a call is {"name": .., "arguments": {..}}')),
    ('{"name": "a", "arguments": "x"}', Call("a", {}, "the arguments are no JSON object")),
])
def test_calls_are_read(inside: str, call: Call) -> None:
    assert read(inside, {}) == call


def test_what_is_no_json_is_told() -> None:
    assert read("{name: calculator}", {}).fault.startswith("the call is no JSON (Expecting property name")
