"""The forms that a row of training data may have, and what makes a row a bad one.

    {"prompt": "2 + 3?", "completion": "5"}       a prompt and what follows it; each may also be a list of messages
    {"messages": [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "5"}]}
    {"text": "2 + 3 = 5"}                         learned whole

A completion may say which of its characters are not learned, such as what a tool wrote: "not_learned": [[12, 30]].
"""

import json
from collections.abc import Mapping, Sequence

from eval.row_files import BadRow, Row, RowFileError, require_text
from eval.row_files.types import shown
from pipeline.contract.dataset.reference import Selection

ROLES = ("system", "developer", "user", "assistant", "tool")
OTHER_NAMES = {"human": "user", "gpt": "assistant", "observation": "tool"}
"""What ShareGPT and its like call them."""

_FORMS = ("completion", "messages", "text")

_THOUGHTS = ("thinking", "reasoning", "reasoning_content")


class _Bad(Exception):
    """Why a row is none, under a reason to count by; it never leaves this file."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(said)
        self.reason = reason


def record(row: Row, where: str, selection: Selection) -> Row | BadRow:
    """A row as training takes it: {"prompt", "completion"} in text (a prompt is None where there is none), or
    {"messages"} with "weight" 0 for those that are not learned; other columns stay where there is no column map."""
    try:
        named = _renamed(row, selection.columns)
        form = _form(named)
        # What the other forms are called says nothing here: tables have all columns in each row, most of them null.
        named = {key: value for key, value in named.items() if key == form or key not in _FORMS}
        if form == "completion":
            return _asked(named, selection.columns)
        if form == "messages":
            _refuse_not_learned(named)
            turns = conversation(named["messages"], "messages", selection.columns)
            return {**named, "messages": _learned(turns), **_tools(named)}
        if form == "text":
            text = _text(named["text"], "text", selection.columns)
            return {**named, "prompt": None, "completion": text, **_not_learned(named, text)}
        held = ", ".join(map(repr, list(row)[:8])) or "nothing"
        raise _Bad("columns", f'a row needs "prompt" and "completion", "messages" or "text"; this one has {held}'
                   f"{_hint(row)}")
    except _Bad as bad:
        return BadRow(bad.reason, f"{where}: {bad}")


def _form(row: Row) -> str | None:
    """The column that says what form a row has: the first of them that holds something, else the first that is
    there."""
    there = [key for key in _FORMS if key in row]
    return next((key for key in there if row[key] is not None), there[0] if there else None)


def _asked(row: Row, columns: Mapping[str, str]) -> Row:
    prompt, completion = row.get("prompt"), row["completion"]
    if not isinstance(prompt, list | tuple) and not isinstance(completion, list | tuple):
        if prompt is not None:
            _require_text(prompt, repr(columns.get("prompt", "prompt")))
        text = _text(completion, "completion", columns)
        return {"prompt": None, **row, "completion": text, **_not_learned(row, text)}
    _refuse_not_learned(row)
    # trl's conversational form: all is put to the model, and what is in `completion` is learned.
    asked = conversation(prompt, "prompt", columns) if isinstance(prompt, list | tuple) else \
        [{"role": "user", "content": _text(prompt, "prompt", columns)}]
    said = conversation(completion, "completion", columns) if isinstance(completion, list | tuple) else \
        [{"role": "assistant", "content": _text(completion, "completion", columns)}]
    turns = [*({**turn, "weight": 0} for turn in asked), *said]
    others = {key: value for key, value in row.items() if key not in ("prompt", "completion")}
    return {**others, "messages": _learned(turns), **_tools(row)}


def _not_learned(row: Row, text: str) -> Row:
    """The characters of a completion, from and to, that are not learned; none where the row says none."""
    spans = row.get("not_learned")
    if spans is None:
        return {}
    ends = [0]
    for span in spans if isinstance(spans, list | tuple) else [spans]:
        if not isinstance(span, list | tuple) or len(span) != 2 or not all(type(one) is int for one in span) \
                or not ends[-1] <= span[0] <= span[1] <= len(text):
            raise _Bad("type", "'not_learned' must be a list of [from, to], characters of the completion in their "
                       f"order, not {shown(spans)}")
        ends.append(span[1])
    return {"not_learned": [list(span) for span in spans]}


def _refuse_not_learned(row: Row) -> None:
    # Of which message would these be the characters?
    if row.get("not_learned"):
        raise _Bad("type", "'not_learned' goes with a prompt and a completion in text, or with a text; of messages, "
                   'give those that are not learned "weight": 0')


def text_of(row: Row) -> str:
    """All that a record says, to look for other texts in it."""
    if "messages" not in row:
        return f"{row['prompt'] or ''}\n{row['completion']}"
    return "\n".join(str(turn[key]) for turn in row["messages"] for key in (*_THOUGHTS, "content") if turn.get(key))


def conversation(value: object, name: str, columns: Mapping[str, str]) -> list[Row]:
    """The turns of a conversation, their keys and roles as templates know them, and without what is null."""
    name = columns.get(name, name)  # as its author knows it
    if isinstance(value, str):  # as tables keep them
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _Bad("type", f"{name!r} must be a list of messages, not {shown(value)}") from error
    if not isinstance(value, Sequence) or isinstance(value, str):
        reason = "null" if value is None else "type"
        raise _Bad(reason, f"{name!r} must be a list of messages, not {shown(value)}")
    if not value:
        raise _Bad("empty", f"{name!r} is an empty list")
    return [_turn(turn, f"message {number} of {name!r}", columns) for number, turn in enumerate(value, 1)]


def _turn(value: object, name: str, columns: Mapping[str, str]) -> Row:
    if not isinstance(value, Mapping):
        raise _Bad("type", f"{name} must be an object, not {shown(value)}")
    role_key, content_key = columns.get("role", "role"), columns.get("content", "content")
    turn = {key: item for key, item in value.items() if item is not None and key not in (role_key, content_key)}
    role = value.get(role_key)
    if role_key not in value and {"from", "value"} <= set(value):
        raise _Bad("columns", f"{name} has 'from' and 'value'; say so behind the file's name: ?messages=conversations&"
                   "role=from&content=value")
    role = OTHER_NAMES.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        said = f"has the role {shown(role)}" if role_key in value else f"has no {role_key!r}"
        raise _Bad("role", f"{name} {said}; roles are {', '.join(ROLES)}")
    for key in _THOUGHTS:
        if key in turn:
            _require_text(turn[key], f"{key} of {name}")
    if turn.get("weight", 1) not in (0, 1):
        raise _Bad("type", f"'weight' of {name} must be 0 or 1, not {shown(turn['weight'])}")
    if turn.get("tool_calls"):
        turn["tool_calls"] = [_call(call, name) for call in _objects(turn["tool_calls"], f"'tool_calls' of {name}")]
    content = _content(value.get(content_key), name)
    if content is None:
        if role != "assistant" or not (turn.get("tool_calls") or any(key in turn for key in _THOUGHTS)):
            raise _Bad("null" if content_key in value else "columns", f"{name} has no {content_key!r}")
        content = ""
    elif role == "assistant" and not content.strip() and not turn.get("tool_calls"):
        raise _Bad("empty", f"{name} is empty, and the assistant's")
    return {"role": role, "content": content, **turn}


def _call(call: Mapping[str, object], name: str) -> Mapping[str, object]:
    """A call of a tool with its arguments as an object: OpenAI's interface writes them as JSON text, which a template
    would write as a text once more. They may stand in `function`, or beside its name without one."""
    function = call.get("function")
    if isinstance(function, Mapping):
        return {**call, "function": _call(function, name)}
    told = call.get("arguments")
    if not isinstance(told, str):
        return call
    try:
        arguments = json.loads(told) if told.strip() else {}
    except (ValueError, RecursionError) as error:
        raise _Bad("type", f"'arguments' of a call in {name} must be a JSON object, not {shown(told)}") from error
    if not isinstance(arguments, dict):
        raise _Bad("type", f"'arguments' of a call in {name} must be a JSON object, not {shown(told)}")
    return {**call, "arguments": arguments}


def _content(value: object, name: str) -> str | None:
    if isinstance(value, list | tuple):  # parts, as in messages with pictures
        if not all(isinstance(part, Mapping) and part.get("type") == "text" for part in value):
            raise _Bad("type", f"{name} has parts that are no text, and Retort trains on text alone")
        value = "".join(str(part.get("text", "")) for part in value)
    if value is not None:
        _require_text(value, f"content of {name}")
    return None if value is None else str(value)


def _learned(turns: list[Row]) -> list[Row]:
    if not any(turn["role"] == "assistant" and turn.get("weight", 1) for turn in turns):
        raise _Bad("no assistant", "no message is the assistant's, so that there is nothing to learn")
    return turns


def _tools(row: Row) -> Row:
    tools = row.get("tools")
    return {"tools": _objects(tools, "'tools'")} if tools else {}


def _objects(value: object, name: str) -> list[Mapping[str, object]]:
    """A list of objects, also where a table keeps it as JSON text, of which null is none."""
    found = value
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _Bad("type", f"{name} must be a list of objects, not {shown(value)}") from error
        found = [] if found is None else found
    if not isinstance(found, list | tuple) or not all(isinstance(one, Mapping) for one in found):
        raise _Bad("type", f"{name} must be a list of objects, not {shown(value)}")
    return list(found)


def _renamed(row: Row, columns: Mapping[str, str]) -> Row:
    mapped = {ours: theirs for ours, theirs in columns.items() if ours not in ("role", "content")}
    if not mapped:
        return row
    named: Row = {key: row[key] for key in ("prompt", "tools", "not_learned") if key in row}
    for ours, theirs in mapped.items():
        parts = [theirs] if theirs in row else theirs.split("+")
        absent = [part for part in parts if part not in row]
        if absent:
            held = ", ".join(map(repr, list(row)[:8])) or "nothing"
            raise _Bad("columns", f"there is no column {absent[0]!r}; this row has {held}")
        if len(parts) == 1:
            named[ours] = row[parts[0]]
        else:
            told = [row[part] for part in parts if row[part] not in (None, "")]
            for text in told:
                _require_text(text, repr(theirs))
            named[ours] = "\n\n".join(told)
    return named


def _text(value: object, name: str, columns: Mapping[str, str]) -> str:
    name = columns.get(name, name)
    if value is None:
        raise _Bad("null", f"{name!r} is null")
    _require_text(value, repr(name))
    if not str(value).strip():
        raise _Bad("empty", f"{name!r} is empty")
    return str(value)


def _require_text(value: object, told: str) -> None:
    """`told` is what the value is called in a complaint."""
    try:
        require_text(value, "it", "")
    except RowFileError as error:
        said = str(error).removeprefix(": ").replace("'it'", told, 1)
        raise _Bad("type" if not isinstance(value, str) else "surrogate", said) from error


_KNOWN = (
    ({"question", "solution"}, "prompt=question&completion=solution"),
    ({"question", "answer"}, "prompt=question&completion=answer"),
    ({"problem", "solution"}, "prompt=problem&completion=solution"),
    ({"instruction", "input", "output"}, "prompt=instruction+input&completion=output"),
    ({"instruction", "output"}, "prompt=instruction&completion=output"),
    ({"instruction", "response"}, "prompt=instruction&completion=response"),
    ({"prompt", "response"}, "completion=response"),
    ({"prompt", "chosen"}, "completion=chosen"),
    ({"query", "response"}, "prompt=query&completion=response"),
    ({"input", "output"}, "prompt=input&completion=output"),
    ({"content"}, "text=content"),
)


def _hint(row: Row) -> str:
    """The column map for rows as others have them."""
    turns = row.get("conversations", row.get("conversation"))
    if turns is not None:
        name = "conversations" if "conversations" in row else "conversation"
        first = turns[0] if isinstance(turns, list) and turns else {}
        others = "&role=from&content=value" if isinstance(first, Mapping) and "from" in first else ""
        return f"; say what its columns are called: ?messages={name}{others}"
    told = next((said for columns, said in _KNOWN if columns <= set(row)), None)
    return f"; say what its columns are called: ?{told}" if told else ""
