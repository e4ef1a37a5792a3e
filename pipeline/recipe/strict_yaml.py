"""YAML read strictly: YAML 1.2 scalars, no duplicate keys, merges, tags or tabs, and every node knows its line.

Hostile text is refused in bounded time: what is too long, too deep, or grows without end when its aliases are read.
"""

import re
import unicodedata
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar  # YAML: what a key holds only its reader knows

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.tokens import (
    AliasToken,
    AnchorToken,
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    TagToken,
)

from pipeline.disk.durable import JsonObject
from rewards.errors import RetortError

Where = tuple[Hashable, ...]  # the keys and list positions that lead to a node: ("stages", "zero", "steps")

# The core schema of YAML 1.2.2, chapter 10.3.2. In 1.1, which PyYAML follows, `no` is false, `1e-3` is text
# and `12:30` is a number in base 60.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})

# The longest shipped recipe has 8,000 characters and 400 nodes, 5 deep. PyYAML reads some 60,000 characters a second.
MOST_CHARACTERS = 100_000
MOST_NODES = 20_000
"""After every alias was read as what it stands for: nine lists of nine aliases each are 400 million nodes."""
MOST_DEPTH = 40
"""PyYAML and this module call themselves once a level, and Python stops at a thousand calls."""

_OPENING = (BlockMappingStartToken, BlockSequenceStartToken, FlowMappingStartToken, FlowSequenceStartToken)
_CLOSING = (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)


class YamlError(RetortError, ValueError):
    """What is wrong, in one line, and where: `line` counts from 1."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Document:
    """Plain data, and the place each part of it was written: "recipe.yaml:12", or "--set zero.steps=4"."""

    file: str
    data: Any
    places: dict[Where, str] = field(default_factory=dict)
    nodes: int = 0

    def place(self, where: Iterable[Hashable]) -> str:
        """Where the node was written, or the nearest node above it that was written at all."""
        path = tuple(where)
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, f"{self.file}:1")


def read(text: str, file: str) -> Document:
    """The one YAML document in `text`. Raises YamlError."""
    document = Document(file, None)
    node = _compose(text)
    if node is not None:
        document.data = _plain(node, (), document, [])
    return document


def read_file(path: Path) -> Document:
    """Like `read`, for a file. Raises YamlError, also for bytes that are not UTF-8, and OSError."""
    if (size := path.stat().st_size) > 4 * MOST_CHARACTERS:  # UTF-8 takes four bytes for a character at most
        raise YamlError(f"has {size:,} bytes; a recipe has at most {MOST_CHARACTERS:,} characters", 1)
    try:
        # Editors on Windows write a byte order mark, which is no part of the text.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError("is not UTF-8 text; save it as UTF-8", 1) from error
    return read(text, str(path))


def value(text: str) -> Any:
    """What a value on the command line means: `40`, `1e-3`, `[a, b]`, `{correct: 1.0}`, `org/name`. Raises
    YamlError."""
    return read(text, "").data


def _compose(text: str) -> Node | None:
    if len(text) > MOST_CHARACTERS:
        raise YamlError(f"has {len(text):,} characters; a recipe has at most {MOST_CHARACTERS:,}", 1)
    _refuse_tabs(text)
    try:
        _refuse_by_tokens(text)
        # Nodes and not values: they know their lines, and PyYAML's values are YAML 1.1's.
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(str(error.problem or error.context).split())
        if "expected a single document" in str(error.context):
            problem = "there is a second document ('---'); write one recipe a file"
        raise YamlError(f"is not YAML: {problem}", (mark.line if mark else 0) + 1) from error
    except yaml.YAMLError as error:
        raise YamlError(f"is not YAML: {' '.join(str(error).split())}", 1) from error


def _refuse_tabs(text: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        if "\t" in line[: len(line) - len(line.lstrip())]:
            raise YamlError("a tab indents this line; use spaces", number)


def _refuse_by_tokens(text: str) -> None:
    """Tags, anchors that are unclear, and blocks that are too deep to be composed, which PyYAML does recursively."""
    anchors: set[str] = set()
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        line = token.start_mark.line + 1
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        _refuse_depth(depth, line)
        if isinstance(token, TagToken):
            raise YamlError("tags ('!..') are not allowed in a recipe", line)
        if isinstance(token, AnchorToken):
            if token.value in anchors:
                raise YamlError(f"anchor '&{token.value}' is defined twice", line)
            anchors.add(token.value)
        if isinstance(token, AliasToken) and token.value not in anchors:
            raise YamlError(f"alias '*{token.value}' has no anchor above it", line)


def _refuse_depth(depth: int, line: int) -> None:
    if depth > MOST_DEPTH:
        raise YamlError(f"blocks are more than {MOST_DEPTH} deep here", line)


def _plain(node: Node, where: Where, document: Document, above: list[Node]) -> Any:
    line = node.start_mark.line + 1
    document.nodes += 1
    if document.nodes > MOST_NODES:
        raise YamlError(f"with every alias written out there are more than {MOST_NODES:,} values", line)
    # The key's line is noted first and stays: that is where a person looks for a block written below its key.
    document.places.setdefault(where, f"{document.file}:{line}")
    if isinstance(node, ScalarNode):
        return _scalar(node)
    if any(node is parent for parent in above):
        raise YamlError("an alias refers to the block that it is in", line)
    _refuse_depth(len(above) + 1, line)
    if isinstance(node, SequenceNode):
        return [_plain(item, (*where, i), document, [*above, node]) for i, item in enumerate(node.value)]
    assert isinstance(node, MappingNode)
    found: JsonObject = {}
    for key_node, value_node in node.value:
        key = _key(key_node)
        line = key_node.start_mark.line + 1
        if key in found:
            first = document.place((*where, key)).rsplit(":", 1)[-1]
            raise YamlError(f"key {key!r} is written twice in one block, first on line {first}", line)
        document.places[*where, key] = f"{document.file}:{line}"
        found[key] = _plain(value_node, (*where, key), document, [*above, node])
    return found


def _key(node: Node) -> str:
    """Keys are the text that was written, so `no:` and `10:` are the keys "no" and "10"."""
    line = node.start_mark.line + 1
    if not isinstance(node, ScalarNode):
        raise YamlError("a key must be a plain word", line)
    if node.style is None and node.value == "<<":
        raise YamlError("merge keys ('<<') are not allowed; write the fields out", line)
    if not node.value:
        raise YamlError("a key is empty", line)
    return _printable(node)


def _printable(node: ScalarNode) -> str:
    """The text of a node. A NUL ends a file's name, half a surrogate pair cannot be written down, and what moves a
    terminal's cursor would do so in the line that complains of it."""
    text = str(node.value)
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t":
            line = node.start_mark.line + 1
            raise YamlError(f"the text holds the control character {character!a}; write it without", line)
    return text


def _scalar(node: ScalarNode) -> str | int | float | bool | None:
    text = _printable(node)
    if node.style is not None or len(text) > 1000:  # quoted, a block, or more digits than Python agrees to read
        return text
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> int | float | None:
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITY.fullmatch(text):
        return float(text.replace(".", ""))
    return float("nan") if text in _NAN else None
