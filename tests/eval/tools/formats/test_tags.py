"""Calls between two tags."""

import pytest

from eval.tools.formats.tags import Tags
from eval.tools.tool import Call, Tool, tools_of
from eval.tools.use import ToolUse
from pipeline.models.tokenizer import train_tokenizer

TOOLS = tools_of(ToolUse(("calculator",)))
FORM = Tags(train_tokenizer(["<call>calculator 3 + 4</call><result>7</result>"], 64))
CALL = Call("calculator", {"expression": "3 + 4"})


@pytest.mark.parametrize("behind", ["", "<", "\n", "><res"])
def test_a_call_may_end_inside_of_a_token(behind: str) -> None:
    assert FORM.calls(f"So <call>calculator 3 + 4</call>{behind}", TOOLS, ended=True) == [CALL]


def test_a_turn_that_did_not_end_or_closes_nothing_makes_no_call() -> None:
    assert FORM.calls("<call>calculator 3 + 4</call>", TOOLS, ended=False) == []
    assert FORM.calls("<call>calculator 3 + 4", TOOLS, ended=True) == []
    [call] = FORM.calls("3 + 4</call>", TOOLS, ended=True)
    assert call.fault


@pytest.mark.parametrize(("written", "read"), [("12", 12), ("twelve", "twelve"), ("[1]", [1])])
def test_an_argument_that_is_no_text_is_read_as_json(written: str, read: object) -> None:
    schema = {"function": {"name": "days", "parameters": {"properties": {"count": {"type": "integer"}}}}}
    tools = {"days": Tool("days", schema, print)}
    assert FORM.calls(f"<call>days {written}</call>", tools, ended=True) == [Call("days", {"count": read})]
