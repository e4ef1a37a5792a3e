"""A tool and a call of it."""

import contextlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any  # arguments and schemas are JSON

from eval.errors import ToolError
from eval.tools.foreign import apart
from eval.tools.registry import TOOLS, Function
from eval.tools.search import searcher
from eval.tools.use import ToolUse
from rewards.foreign import LOADING, calling
from rewards.lazy import lazy

with lazy:
    from transformers.utils import get_json_schema


_OF_PYTHON: Mapping[str, Any] = {"True": True, "False": False, "None": None}
"""Chat templates write these so where they write an argument as text."""
_NONE = ("null", "None")


@dataclass(frozen=True)
class Call:
    """What a model asks for: a tool and its arguments; `fault` says why that could not be read."""

    tool: str
    arguments: Mapping[str, Any]
    fault: str = ""


@dataclass(frozen=True)
class Tool:
    """`schema` is what chat templates are told: {"type": "function", "function": {"name", "description",
    "parameters"}}."""

    name: str
    schema: Mapping[str, Any]
    function: Function

    @property
    def parameters(self) -> Mapping[str, Any]:
        """By name what each argument is."""
        found: Mapping[str, Any] = self.schema["function"]["parameters"]["properties"]
        return found

    @property
    def required(self) -> list[str]:
        return list(self.schema["function"]["parameters"].get("required", ()))

    def argument(self, name: str, text: str) -> Any:
        """An argument that was written as a text: that is what it is where it is to be one, else what it is as JSON."""
        wanted = self.parameters.get(name, {})
        if wanted.get("type", "string") == "string" and not (wanted.get("nullable") and text in _NONE):
            return text
        if text in _OF_PYTHON:
            return _OF_PYTHON[text]
        with contextlib.suppress(ValueError, RecursionError):  # what it is instead is told when it is checked
            return json.loads(text)
        return text

    def named(self, text: str) -> dict[str, Any]:
        """The arguments of a call that says nothing but one text: that is the first of them."""
        return {name: self.argument(name, text) for name in list(self.parameters)[:1]}


@lru_cache(maxsize=16)
def tools_of(use: ToolUse) -> dict[str, Tool]:
    """The tools by name, made once in a process: documents are read, and indexed, when they are. Raises ToolError for
    what is no tool, RegistryError where there is none."""
    made = [_made(reference, use) for reference in use.tools]
    found = {tool.name: tool for tool in made}
    if len(found) < len(made):
        raise ToolError("two tools have one name; leave one of them out")
    return found


def _made(reference: str, use: ToolUse) -> Tool:
    entry = TOOLS.resolve(reference, base=Path(use.folder))
    with calling(f"tool {reference!r}", LOADING):
        function = entry.load()
    try:
        schema = get_json_schema(function)
    except Exception as error:  # it reads the docstring of anybody's function
        said = " ".join(str(error).split())[:200]
        raise ToolError(f"tool {reference!r}: {said}; a tool is a function with a type for each argument, and with a "
                        "docstring that tells of them under 'Args:'") from error
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ToolError(f"tool {reference!r} yields; a tool returns what it has to say, all at once")
    name = str(schema["function"]["name"])
    if entry.origin != "built-in":
        return Tool(name, schema, apart(entry))
    if name != "search":
        return Tool(name, schema, function)
    if not use.documents:
        raise ToolError("the tool search needs a folder of documents: tools.documents")
    return Tool(name, schema, searcher(Path(use.folder) / Path(use.documents).expanduser()))
