"""Which tools a model may call, and within which bounds, as a recipe says it."""

from dataclasses import dataclass

TURNS = 4
OBSERVATION = 64


@dataclass(frozen=True)
class ToolUse:
    """tools        names of tools, or module:function or file.py:function
    turns        calls that an answer may make
    observation  tokens of what a tool says; what is longer is cut
    folder       where relative paths of files and of documents start
    documents    the folder that `search` looks in
    """

    tools: tuple[str, ...]
    turns: int = TURNS
    observation: int = OBSERVATION
    folder: str = ""
    documents: str = ""
