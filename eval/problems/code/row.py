"""What the formats of code problems have in common: what a row becomes, what it cannot be graded for, its columns."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any  # JSON

from eval.row_files import Row
from rewards.sandbox import imports

EACH = 6.0
"""Seconds for one test where the set does not say more, as LiveCodeBench's grader has it."""

MEGABYTES = 1024
"""For programs of contests, whose inputs are large."""

LONGEST = 600.0
"""Seconds for all tests of a problem, the most that the verifier takes."""


class CannotGrade(Exception):
    """A row that nothing here can grade. `reason` is one for many rows, written to go on after their number ("have no
    tests"); `detail` is of this row."""

    def __init__(self, reason: str, detail: object = "") -> None:
        self.reason = reason
        self.detail = f": {' '.join(str(detail).split())[:120]}" if str(detail) else ""
        super().__init__(reason + self.detail)


@dataclass(frozen=True, slots=True)
class CodeProblem:
    """`name` is the set's own id ("" where it has none), `question` what is asked, without how it is to be answered."""

    name: str
    prompt: str
    answer: Mapping[str, object]
    question: str
    meta: Mapping[str, object] = field(default_factory=dict)


_INTERACTIVE = re.compile(r"\bthis is an interactive (?:problem|task)\b|\binteractive (?:problem|task)s?\b[^.]{0,200}"
                          r"\b(?:flush|jury|judge)\b", re.IGNORECASE)
_IMAGE = re.compile(r"<image>|<img\b|!\[[^\]\n]{0,200}\]\(", re.IGNORECASE)
# A sentence that lets the program choose, where the tests know one answer of several.
_ANY = re.compile(
    r"\b(?:if there (?:are|is)|in case of)\s[^.\n]{0,40}\b(?:multiple|several|many|more than one)\b[^.\n]{0,120}"
    r"\b(?:any|arbitrary)\b|\b(?:print|output|find|return)\s+any\s+(?:of\s+(?:them|these|those)|one|such|valid|possible|"
    r"correct|suitable)\b", re.IGNORECASE)
_CHECKERS = ("checker", "generated_checker", "special_judge", "interactor", "interactor_code")
_PICTURES = ("image", "images", "picture_num")
_LANGUAGES = ("lang", "language", "programming_language")
_OTHERS = re.compile(r"(?:c|c\+\+|cpp|java|javascript|js|typescript|ts|go|golang|rust|ruby|php|c#|csharp|kotlin|swift|"
                     r"scala|perl|haskell|lua|julia|r|bash|sql)(?:[\s\d.-].*)?", re.IGNORECASE)
_HEAD = re.compile(r"^([ \t]*(?:async[ \t]+)?def\b.*:)[ \t]*$", re.MULTILINE)


def require_gradable(row: Row, question: str, *, one_answer: bool = False) -> None:
    """Raises CannotGrade for what tests of inputs and outputs cannot grade, or a model of text cannot see; with
    `one_answer` also where the question accepts several answers."""
    if any(row.get(column) for column in _CHECKERS):
        raise CannotGrade("need a checker program of their own")
    if _INTERACTIVE.search(question):
        raise CannotGrade("are interactive")
    if any(row.get(column) not in (None, "", "0", 0, []) for column in _PICTURES) or _IMAGE.search(question):
        raise CannotGrade("show images")
    for column in _LANGUAGES:
        language = row.get(column)
        if isinstance(language, str) and _OTHERS.fullmatch(language.strip()):
            raise CannotGrade("are for another language than Python", language)
    if one_answer and (said := _ANY.search(question)):
        raise CannotGrade("accept several answers, of which their tests know one", said.group())


def text(row: Row, column: str, *, needed: bool = True) -> str:
    """The text of a column, "" where it is not there and not needed. Raises CannotGrade."""
    value = row.get(column)
    if isinstance(value, str) and (value.strip() or not needed):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise CannotGrade(f"hold half of a surrogate pair in {column!r}") from error
        return value
    if value in (None, "") and not needed:
        return ""
    raise CannotGrade(f"have no text in {column!r}", "" if value in (None, "") else repr(value))


def parsed(value: object, column: str) -> Any:
    """What a column holds as JSON text, or in itself. Raises CannotGrade."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except RecursionError as error:
        raise CannotGrade(f"are nested too deeply in {column!r}") from error
    except ValueError as error:
        if not isinstance(error, json.JSONDecodeError):
            raise CannotGrade("hold an integer of thousands of digits") from error
        raise CannotGrade(f"have no JSON in {column!r}", error) from error


def name(row: Row, *columns: str) -> str:
    """The first of these columns that holds an id, as text."""
    return next((str(row[column]) for column in columns if isinstance(row.get(column), str | int) and row[column] != ""
                 and not isinstance(row[column], bool)), "")


def module(source: str, what: str) -> ast.Module:
    """Python source, parsed. Raises CannotGrade, which says of what it is."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CannotGrade(f"have {what} that are no Python", error) from error


def require_tests(source: str) -> None:
    """Raises CannotGrade where the source of tests is no Python, or imports what programs may not."""
    try:
        # Several times as fast as a tree, of tests that may be a megabyte of inputs.
        compile(source, "<tests>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CannotGrade("have tests that are no Python", error) from error
    if all(map(imports.importable, imports.imported(source))):
        return
    # A text in them may only talk of an import.
    for one in _imported(ast.parse(source)):
        if not imports.importable(one):
            raise CannotGrade("have tests that import what cannot be imported", one)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=of, level=level):
                yield "." * level + (of or "")
            case ast.Call(func=ast.Name("__import__") | ast.Name("import_module") | ast.Attribute(_, "import_module"),
                          args=[ast.Constant(str(told)), *_]):
                yield told


def require_check(source: str) -> None:
    """Raises CannotGrade where the source of tests has no `check(candidate)` that calls the candidate."""
    require_tests(source)
    if not re.search(r"^def check\(", source, re.MULTILINE):
        raise CannotGrade("have no check(candidate) in 'test'")
    if not re.search(r"\bcandidate\(", source):
        raise CannotGrade("have tests that never call the candidate")


def in_fence(code: str) -> str:
    """A solution as a completion has it."""
    return f"```python\n{code.strip()}\n```"


def seconds_in_all(each: float, tests: int) -> float:
    return min(LONGEST, each * tests)


def require_python(starter: str) -> None:
    """Raises CannotGrade where code to start from is not Python's."""
    code = starter.rstrip()
    last = code.rpartition("\n")[2]
    indent = last[: len(last) - len(last.lstrip())]
    # What is to be completed has no body yet, or a comment in its place; of several functions none has.
    for whole in (code, f"{code} pass", f"{code}\n{indent}pass", _HEAD.sub(r"\1 pass", code)):
        try:
            ast.parse(whole)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return
    raise CannotGrade("have code to start from that is not Python's", starter.strip())
