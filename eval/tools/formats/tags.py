"""Calls between two tags, for base models and small vocabularies: `<call>calculator 3 + 4</call>`, behind which
`<result>7</result>` is written in the same turn.

Behind the name of a tool stands its first argument as it is, or all of them as a JSON object.
"""

import json
from collections.abc import Mapping, Sequence

from eval.errors import PromptError
from eval.language_model import Tokenizer
from eval.tools.tool import Call, Tool

OPEN, CLOSE = "<call>", "</call>"
TAGS = (OPEN, CLOSE, "<result>", "</result>")
HOW = "To use a tool, write <call>NAME ARGUMENT</call>; what it says follows as <result>..</result>. The tools are:"


class Tags:
    """The form for a tokenizer. Raises PromptError where it has no tokens for the tags."""

    stops: tuple[str, ...] = (CLOSE,)

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        for tag in TAGS:
            if not _known(tokenizer, tag):
                raise PromptError(f"the tokenizer has no token for {tag!r}, with which its model could call a tool: "
                                  "leave tools out, or train on texts that hold calls first")

    def line(self, tools: Mapping[str, Tool]) -> str:
        """What a question is followed by, so that the model knows of its tools: the first of three texts that the
        tokenizer has tokens for, and so for a vocabulary of few words the names alone."""
        described = "\n".join(f"- {tool.name}: {tool.schema['function']['description']} "
                              f"Argument: {', '.join(tool.parameters)}." for tool in tools.values())
        names = ", ".join(tools)
        for text in (f"{HOW}\n{described}", f"Tools: {names}", names):
            if _known(self.tokenizer, text):
                return text
        raise PromptError(f"the tokenizer has no tokens that could tell of the tools {names}: leave tools out, or "
                          "train on texts that name them first")

    def calls(self, turn: str, tools: Mapping[str, Tool], *, ended: bool) -> list[Call]:
        # The token that completes the tag may hold more: GPT-2 has one for "><".
        written, closed, _ = turn.partition(CLOSE)
        if not ended or not closed:
            return []
        _, opened, inside = written.rpartition(OPEN)
        if not opened:
            return [Call("", {}, f"write {OPEN}NAME ARGUMENT{CLOSE}")]
        name, _, argument = inside.strip().partition(" ")
        argument = argument.strip()
        if argument.startswith("{"):
            return [_from_json(name, argument)]
        return [Call(name, tools[name].named(argument) if name in tools and argument else {})]

    def shown(self, said: Sequence[str], last: int) -> list[int]:
        text = "".join(f"<result>{one}</result>" for one in said)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _from_json(name: str, argument: str) -> Call:
    try:
        found = json.loads(argument)
    except (ValueError, RecursionError) as error:
        return Call(name, {}, f"the arguments are no JSON ({' '.join(str(error).split())})")
    return Call(name, found)


def _known(tokenizer: Tokenizer, text: str) -> bool:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return bool(ids) and tokenizer.unk_token_id not in ids
