"""What a model has at hand while it answers: its tools, the form of its calls, and what it is shown of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eval.answer_formats import OPEN
from eval.language_model import Tokenizer
from eval.protocol import Prompting
from eval.tools.asking import observation
from eval.tools.formats.form import CallForm
from eval.tools.formats.tags import Tags
from eval.tools.formats.template import InTemplate, Reader, reader_of
from eval.tools.tool import Call, Tool, tools_of
from eval.tools.use import ToolUse

MARKS = ("<think>", "</think>", "<answer>", "</answer>", "<call>", "</call>", "<result>", "</result>", "<tool_call>",
         "</tool_call>", "<tool_response>", "</tool_response>")
"""What says where the parts of an answer begin and end, and so must not come from a tool."""

_LIKE_A_MARK = re.compile(r"<.+>|\[.+\]", re.DOTALL)
"""Added tokens that may have such a part in a model's own form. Others are words that somebody added, as a tool says
them."""


@dataclass(frozen=True)
class Toolbox:
    """The tools of a model with this tokenizer, and the form in which it calls them."""

    tokenizer: Tokenizer
    tools: dict[str, Tool]
    form: CallForm
    use: ToolUse

    def calls(self, ids: Sequence[int], *, opened: bool, ended: bool) -> list[Call]:
        """The calls of a turn of these tokens; `opened` where its prompt opens the thinking, `ended` where it ended by
        itself."""
        turn = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return self.form.calls(OPEN + turn if opened else turn, self.tools, ended=ended)

    def shown(self, calls: Sequence[Call], last: int) -> list[int]:
        """The token ids of what the calls come to; `last` is the token that the turn ended with."""
        return self.form.shown([self._told(observation(self.tools, call)) for call in calls], last)

    def _told(self, said: str) -> str:
        """What a tool says as plain text, of at most so many tokens."""
        said = said.encode(errors="replace").decode()  # half a surrogate pair is no text for a tokenizer
        added = self.tokenizer.added_tokens_decoder.values()
        marks = {*MARKS, *self.tokenizer.all_special_tokens,
                 *(one.content for one in added if one.special or _LIKE_A_MARK.fullmatch(one.content))}
        found = re.sub("|".join(re.escape(mark) for mark in sorted(marks, key=len, reverse=True) if mark.strip()),
                       lambda mark: f"{mark.group()[0]} {mark.group()[1:]}", said)
        ids = self.tokenizer(found, add_special_tokens=False)["input_ids"]
        if len(ids) <= self.use.observation:
            return found
        return self.tokenizer.decode(ids[: self.use.observation], skip_special_tokens=False,
                                     clean_up_tokenization_spaces=False)


def toolbox(tokenizer: Tokenizer, how: Prompting) -> Toolbox:
    """What a model has that is asked as `how` says, which has tools. Raises PromptError, ToolError."""
    assert how.tools is not None
    tools = tools_of(how.tools)
    options = {**how.template_options, "tools": [tool.schema for tool in tools.values()]}
    read = _reader(tokenizer, how)
    form: CallForm = InTemplate(tokenizer, options, read) if read else Tags(tokenizer)
    return Toolbox(tokenizer, tools, form, how.tools)


def telling_of_tools(tokenizer: Tokenizer, how: Prompting) -> Prompting:
    """`how`, whose template is settled, with what tells this tokenizer's model of its tools: the option `tools` of its
    chat template where that writes calls between the tags of a known form, else a text behind the question."""
    if how.tools is None:
        return how
    tools = tools_of(how.tools)
    if _reader(tokenizer, how):
        schemas = [tool.schema for tool in tools.values()]
        return replace(how, template_options={**how.template_options, "tools": schemas})
    return replace(how, tool_line=Tags(tokenizer).line(tools))


def _reader(tokenizer: Tokenizer, how: Prompting) -> Reader | None:
    """What reads the calls of the chat template; None where the question is to tell how calls are written."""
    return reader_of(tokenizer, how.template_options) if how.template == "chat" else None
