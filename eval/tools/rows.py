"""Answers with calls as rows of training data, which say what of them is not to be learned."""

from typing import Any  # a row is JSON

from eval.effort import with_tool_line
from eval.protocol import Prompting
from eval.tools.formats.template import turns
from rewards.types import Completion


def row_of(question: str, completion: Completion, how: Prompting) -> dict[str, Any]:
    """An answer to a question that was put as `how`, which is settled, says.

    Where calls and what tools say are one text, the row is a prompt and a completion, with the characters that are not
    learned; where tools have turns of their own, it is a list of messages.
    """
    if how.tools is None or how.tool_line is not None:
        told = {"not_learned": completion.observations} if completion.observations else {}
        return {"prompt": with_tool_line(question, how), "completion": completion.text, **told}
    messages = [{"role": "user", "content": question}, *turns(completion.text, completion.observations)]
    return {"messages": messages, "tools": how.template_options["tools"]}
