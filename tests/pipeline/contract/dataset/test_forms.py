"""What rows of training data look like, and each with its bad twin."""

import json
from typing import Any

import pytest

from eval.row_files import BadRow
from pipeline.contract.dataset import forms, parse
from pipeline.contract.dataset.reference import ALL, Selection

USER = {"role": "user", "content": "2 + 3?"}
SAID = {"role": "assistant", "content": "5"}


def record(row: dict[str, Any], columns: str = "") -> dict[str, Any]:
    found = forms.record(row, "mine.jsonl:7", parse(f"mine.jsonl?{columns}").selection if columns else ALL)
    assert not isinstance(found, BadRow), found
    return found


def bad(row: dict[str, Any], columns: str = "") -> tuple[str, str]:
    selection = parse(f"mine.jsonl?{columns}").selection if columns else Selection()
    found = forms.record(row, "mine.jsonl:7", selection)
    assert isinstance(found, BadRow), found
    assert found.message.startswith("mine.jsonl:7: ")
    assert "\n" not in found.message
    return found.reason, found.message.removeprefix("mine.jsonl:7: ")


def test_text_and_prompt_and_completion_keep_their_other_columns() -> None:
    assert record({"text": "a"}) == {"text": "a", "prompt": None, "completion": "a"}
    assert record({"completion": "a"}) == {"prompt": None, "completion": "a"}
    row = {"prompt": "a", "completion": "b", "weight": 2, "problem": "p1"}
    assert record(row) == row


def test_messages_in_the_forms_that_people_have() -> None:
    assert record({"messages": [USER, SAID]})["messages"] == [USER, SAID]
    assert record({"messages": json.dumps([USER, SAID])})["messages"] == [USER, SAID]
    shared = [{"from": "human", "value": "2 + 3?"}, {"from": "gpt", "value": "5"}]
    columns = "messages=conversations&role=from&content=value"
    assert record({"conversations": shared, "id": 1}, columns) == {"messages": [USER, SAID]}
    parts = [{"role": "user", "content": [{"type": "text", "text": "2 + "}, {"type": "text", "text": "3?"}]}, SAID]
    assert record({"messages": parts})["messages"] == [USER, SAID]
    nulls = [{**USER, "tool_calls": None, "thinking": None}, {**SAID, "name": None}]  # as Parquet has them
    assert record({"messages": nulls})["messages"] == [USER, SAID]


def test_a_call_of_a_tool_and_thinking_need_no_content() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add", "arguments": {}}}]}
    tools = [{"type": "function", "function": {"name": "add"}}]
    for told in (tools, json.dumps(tools)):
        found = record({"messages": [USER, call, {"role": "tool", "content": "5"}, SAID], "tools": told})
        assert found["tools"] == tools
        assert [turn["content"] for turn in found["messages"]] == ["2 + 3?", "", "5", "5"]
    thinks = {"role": "assistant", "reasoning_content": "So 5."}
    assert record({"messages": [USER, thinks]})["messages"][1] == {**thinks, "content": ""}


def test_arguments_of_calls_may_be_text_as_openai_has_them() -> None:
    def called(*arguments: object) -> dict[str, Any]:
        calls = [{"type": "function", "function": {"name": "add", "arguments": one}} for one in arguments]
        return {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": calls}]}

    assert record(called('{"x": 1}', "", {"y": 2})) == called({"x": 1}, {}, {"y": 2})
    for told in ("{x: 1}", "[1]"):
        said = f"'arguments' of a call in message 2 of 'messages' must be a JSON object, not {told!r}"
        assert bad(called(told)) == ("type", said)


def test_calls_may_be_flat_and_a_table_keeps_them_as_text() -> None:
    flat = [{"name": "add", "arguments": {"x": 1}}]
    for told in ([{"name": "add", "arguments": '{"x": 1}'}], json.dumps(flat)):
        found = record({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": told}]})
        assert found["messages"][1]["tool_calls"] == flat
    nothing = record({"messages": [USER, {**SAID, "tool_calls": "null"}], "tools": "null"})
    assert nothing == {"messages": [USER, {**SAID, "tool_calls": []}], "tools": []}
    for wrong in ("add(1)", '{"name": "add"}', {"name": "add"}, ["add"]):
        reason, said = bad({"messages": [USER, {**SAID, "tool_calls": wrong}]})
        assert reason == "type"
        assert said.startswith("'tool_calls' of message 2 of 'messages' must be a list of objects, not")


def test_conversational_prompts_are_asked_and_completions_learned() -> None:
    asked = [USER, SAID, {"role": "user", "content": "And 4?"}]
    found = record({"prompt": asked, "completion": [{"role": "assistant", "content": "9"}], "id": 3})
    assert found["id"] == 3
    assert [turn.get("weight", 1) for turn in found["messages"]] == [0, 0, 0, 1]
    assert record({"prompt": "2 + 3?", "completion": [SAID]})["messages"] == [{**USER, "weight": 0}, SAID]
    assert record({"prompt": [USER], "completion": "5"})["messages"] == [{**USER, "weight": 0}, SAID]


def test_columns_by_other_names_and_joined() -> None:
    row = {"question": "2 + 3?", "solution": "5", "text": "other", "level": 1}
    assert record(row, "prompt=question&completion=solution") == {"prompt": "2 + 3?", "completion": "5"}
    assert record(row, "text=question") == {"text": "2 + 3?", "prompt": None, "completion": "2 + 3?"}
    alpaca = {"instruction": "Add.", "input": "2 + 3", "output": "5"}
    assert record(alpaca, "prompt=instruction+input&completion=output")["prompt"] == "Add.\n\n2 + 3"
    assert record({**alpaca, "input": ""}, "prompt=instruction+input&completion=output")["prompt"] == "Add."
    assert record({"a+b": "x"}, "text=a+b")["completion"] == "x"


@pytest.mark.parametrize(("row", "reason", "said"), [
    ({"prompt": "a"}, "columns", 'a row needs "prompt" and "completion", "messages" or "text"; this one has'),
    ({"prompt": "a", "completion": None}, "null", "'completion' is null"),
    ({"prompt": "a", "completion": ""}, "empty", "'completion' is empty"),
    ({"prompt": "a", "completion": " \n\u2028"}, "empty", "'completion' is empty"),
    ({"prompt": "a", "completion": 5}, "type", "'completion' must be text, not 5"),
    ({"prompt": {"a": 1}, "completion": "5"}, "type", "'prompt' must be text, not {'a': 1}"),
    ({"text": ["a"]}, "type", "'text' must be text, not ['a']"),
    ({"text": ""}, "empty", "'text' is empty"),
    ({"text": "\ud800"}, "surrogate", "'text' holds '\\ud800', half of a surrogate pair"),
    ({"messages": None}, "null", "'messages' must be a list of messages, not None"),
    ({"messages": []}, "empty", "'messages' is an empty list"),
    ({"messages": "hello"}, "type", "'messages' must be a list of messages, not 'hello'"),
    ({"messages": {"role": "user"}}, "type", "'messages' must be a list of messages, not {'role': 'user'}"),
    ({"messages": ["hello"]}, "type", "message 1 of 'messages' must be an object, not 'hello'"),
    ({"messages": [USER]}, "no assistant", "no message is the assistant's, so that there is nothing to learn"),
    ({"messages": [USER, {**SAID, "weight": 0}]}, "no assistant", "no message is the assistant's"),
    ({"messages": [USER, {**SAID, "weight": 0.5}]}, "type", "'weight' of message 2 of 'messages' must be 0 or 1"),
    ({"messages": [USER, {"role": "bot", "content": "5"}]}, "role", "message 2 of 'messages' has the role 'bot'"),
    ({"messages": [USER, {"role": ["x"], "content": "5"}]}, "role", "message 2 of 'messages' has the role ['x']"),
    ({"messages": [USER, {"content": "5"}]}, "role", "message 2 of 'messages' has no 'role'"),
    ({"messages": [{"from": "human", "value": "a"}]}, "columns", "?messages=conversations&role=from&content=value"),
    ({"messages": [USER, {"role": "assistant", "content": ""}]}, "empty", "message 2 of 'messages' is empty, and the"),
    ({"messages": [USER, {"role": "assistant", "content": None}]}, "null", "message 2 of 'messages' has no 'content'"),
    ({"messages": [USER, {"role": "assistant"}]}, "columns", "message 2 of 'messages' has no 'content'"),
    ({"messages": [USER, {"role": "assistant", "content": 5}]}, "type", "content of message 2 of 'messages' must be"),
    ({"messages": [{"role": "user", "content": [{"type": "image"}]}, SAID]}, "type", "has parts that are no text"),
    ({"messages": [USER, {**SAID, "thinking": 5}]}, "type", "thinking of message 2"),
    ({"messages": [USER, SAID], "tools": "add"}, "type", "'tools' must be a list of objects, not 'add'"),
    ({"prompt": [USER], "completion": []}, "empty", "'completion' is an empty list"),
    ({"prompt": [], "completion": "5"}, "empty", "'prompt' is an empty list"),
    ({"prompt": [USER], "completion": [USER]}, "no assistant", "no message is the assistant's"),
])
def test_a_bad_row_says_what_is_wrong_with_it(row: dict[str, Any], reason: str, said: str) -> None:
    found, message = bad(row)
    assert found == reason
    assert said in message


@pytest.mark.parametrize(("row", "columns"), [
    ({"question": "a", "answer": "b"}, "prompt=question&completion=answer"),
    ({"instruction": "a", "input": "", "output": "b"}, "prompt=instruction+input&completion=output"),
    ({"prompt": "a", "chosen": "b", "rejected": "c"}, "completion=chosen"),
    ({"conversations": [{"from": "human", "value": "a"}]}, "messages=conversations&role=from&content=value"),
    ({"conversation": [USER, SAID]}, "messages=conversation"),
])
def test_rows_as_others_have_them_are_told_their_map(row: dict[str, Any], columns: str) -> None:
    reason, said = bad(row)
    assert reason == "columns"
    assert said.endswith(f"; say what its columns are called: ?{columns}")


def test_a_column_that_is_not_there_is_named() -> None:
    assert bad({"a": 1}, "prompt=question&completion=answer") == (
        "columns", "there is no column 'question'; this row has 'a'"
    )


def test_a_completion_may_say_what_of_it_is_not_learned() -> None:
    row = {"prompt": "2 + 3?", "completion": "<result>5</result>5", "not_learned": ((0, 18),)}
    assert record(row)["not_learned"] == [[0, 18]]
    for wrong in ([[0, 99]], [[3, 2]], [[0, 5], [4, 6]], [[0]], [[0, True]], "all", 7):
        reason, said = bad({**row, "not_learned": wrong})
        assert reason == "type"
        assert said.startswith("'not_learned' must be a list of [from, to]")


def test_a_text_may_say_so_too_and_a_column_map_keeps_it() -> None:
    assert record({"text": "2 + 3 = 5", "not_learned": [[0, 3]]})["not_learned"] == [[0, 3]]
    assert bad({"text": "2 + 3 = 5", "not_learned": [[1]]})[0] == "type"
    mapped = record({"prompt": "2 + 3?", "answer": "5 it is", "not_learned": [[1, 3]]}, "completion=answer")
    assert mapped["not_learned"] == [[1, 3]]


@pytest.mark.parametrize("row", [
    {"prompt": [USER], "completion": "5"}, {"prompt": "2 + 3?", "completion": [SAID]}, {"messages": [USER, SAID]},
])
def test_messages_cannot_say_so_by_characters(row: dict[str, Any]) -> None:
    reason, said = bad({**row, "not_learned": [[0, 1]]})
    assert reason == "type"
    assert '"weight": 0' in said
    assert "messages" in record({**row, "not_learned": None})


def test_a_table_that_has_the_columns_of_all_forms_is_read_by_those_that_hold_something() -> None:
    empty = {"prompt": None, "completion": None, "messages": None, "text": None}
    turns = [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "5"}]
    asked = record({**empty, "prompt": "2 + 3?", "completion": "5"})
    assert asked == {"prompt": "2 + 3?", "completion": "5"}
    assert record({**empty, "messages": turns}) == {"prompt": None, "messages": turns}
    assert record({**empty, "text": "2 + 3 = 5"})["completion"] == "2 + 3 = 5"
    # Of two forms that hold something it is the first, checked and trained on alike.
    both = record({**empty, "prompt": "2 + 3?", "completion": "5", "messages": [{"role": "gpt", "content": None}]})
    assert both == asked
    assert forms.text_of(both) == "2 + 3?\n5"
    assert bad(empty)[0] == "null"
