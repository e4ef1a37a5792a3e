"""How a model is told how long to think: by an option of its chat template, or by a line behind the question."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any  # a template's options are JSON

from eval.chat_template import known_options, written
from eval.errors import PromptError
from eval.language_model import Tokenizer
from eval.protocol import Effort, Prompting

OPTIONS = ("reasoning_effort", "enable_thinking", "thinking")
"""Options of chat templates by which a model is told how much to think."""

OTHER_NAMES: dict[Effort, str] = {"high": "xhigh"}
"""What an effort is called where a template refuses its own name (Qwen3.8)."""

LINES: tuple[dict[Effort, str], ...] = (
    {name: f"Reasoning effort: {name}" for name in ("low", "medium", "high")},
    # The vocabulary of a model that `pretrain` made holds few words, and each number up to 99. Its corpus counts to 30:
    # tokens of larger numbers were never read, and came to lie so close together that it cannot tell them apart.
    {"low": "10", "medium": "20", "high": "30"},
)
"""Lines that tell of an effort; of these the first that the tokenizer has tokens for."""


def with_effort(tokenizer: Tokenizer, how: Prompting) -> Prompting:
    """`how`, whose template is settled, with what tells this tokenizer's model of the effort: `reasoning_effort` where
    its chat template knows that option and takes the effort (gpt-oss); else a line behind the question.

    A template that only switches thinking on or off (Qwen3, DeepSeek-V3.1) is told to let the model think, and the line
    says how long: with thinking switched off, even a low effort's budget could not be used. Raises PromptError where
    the tokenizer has no tokens for any line.
    """
    if how.effort is None:
        return how
    known = known_options(tokenizer, how.template_options) if how.template == "chat" else []
    if "reasoning_effort" in known:
        for name in (how.effort, *([OTHER_NAMES[how.effort]] if how.effort in OTHER_NAMES else [])):
            options = {**how.template_options, "reasoning_effort": name}
            if _is_taken(tokenizer, options):
                return replace(how, template_options=options)
    line = _line(tokenizer, how.effort)
    switched: dict[str, Any] = {name: True for name in ("enable_thinking", "thinking") if name in known}
    return replace(how, effort_line=line, template_options={**how.template_options, **switched})


def with_effort_for_server(how: Prompting) -> Prompting:
    """`how`, which a server is asked with, with the effort as `reasoning_effort`, which OpenAI's own servers and others
    know. What a server makes of it, its model's chat template decides."""
    if how.effort is None:
        return how
    return replace(how, template_options={**how.template_options, "reasoning_effort": how.effort})


def with_line(text: str, how: Prompting) -> str:
    """A question with the lines that tell of the tools and of the effort, where there are any."""
    return "\n".join([with_tool_line(text, how), *([how.effort_line] if how.effort_line else [])])


def with_tool_line(text: str, how: Prompting) -> str:
    """A question with the text that tells of the tools, where there is one."""
    return f"{text}\n{how.tool_line}" if how.tool_line else text


def _is_taken(tokenizer: Tokenizer, options: Mapping[str, Any]) -> bool:
    """Whether the chat template asks a question with these options; one may refuse an effort that it does not know."""
    try:
        written(tokenizer, [[{"role": "user", "content": "?"}]], options)
    except PromptError:
        return False
    return True


def _line(tokenizer: Tokenizer, effort: Effort) -> str:
    for lines in LINES:
        ids = tokenizer(lines[effort], add_special_tokens=False)["input_ids"]
        if ids and tokenizer.unk_token_id not in ids:
            return lines[effort]
    raise PromptError("the tokenizer has no tokens that could tell of an effort: neither for words such as "
                      f"{LINES[0][effort]!r} nor for numbers; leave effort out")
