"""Whatever a tool does, a text comes back."""

import time
from pathlib import Path

import pytest

from eval.errors import ToolError
from eval.tools import asking, foreign, programs
from eval.tools.asking import observation
from eval.tools.tool import Call, Tool, tools_of
from eval.tools.use import ToolUse
from rewards.registry import RegistryError
from rewards.sandbox.processes import SandboxError

MINE = '''
import asyncio, os, time
from typing import Literal, Optional

def weather(city: str, days: int = 1) -> str:
    """Says how the weather is.

    Args:
        city: Where.
        days: For how long.
    """
    if city == "nowhere":
        time.sleep(60)
    if city == "gone":
        os._exit(3)
    if city == "closed":
        raise SystemExit("no more")
    return f"{days} days of sun in {city}" if city != "flood" else "water " * 10_000

def word(word: str, n: Optional[int] = None, kind: Literal["noun", "verb"] = "noun", at: int | str = 0) -> str:
    """Looks a word up.

    Args:
        word: The word.
        n: How often.
        kind: What it is (choices: ["noun", "verb"])
        at: Where.
    """
    return f"{word} {n!r} {kind} {at}"

async def later(city: str) -> str:
    """Says it after a while.

    Args:
        city: Where.
    """
    await asyncio.sleep(0)
    return f"sun in {city}"

def drops(city: str) -> str:
    """Says it bit by bit.

    Args:
        city: Where.
    """
    yield city

async def later_drops(city: str) -> str:
    """Says it bit by bit, later.

    Args:
        city: Where.
    """
    yield city

def no_docstring(city: str) -> str:
    return city
'''


@pytest.fixture
def mine(tmp_path: Path) -> dict[str, Tool]:
    (tmp_path / "mine.py").write_text(MINE)
    return tools_of(ToolUse(
        ("mine.py:weather", "mine.py:word", "mine.py:later", "calculator", "python"), folder=str(tmp_path)
    ))


def test_the_schema_of_a_tool_comes_from_its_docstring(mine: dict[str, Tool]) -> None:
    function = mine["weather"].schema["function"]
    assert function["description"] == "Says how the weather is."
    assert function["parameters"] == {
        "type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "Where."},
            "days": {"type": "integer", "description": "For how long."},
        },
    }


@pytest.mark.parametrize(("call", "said"), [
    (Call("weather", {"city": "Rome", "days": 3}), "3 days of sun in Rome"),
    (Call("calculator", {"expression": "47 * 38"}), "1786"),
    (Call("calculator", {"expression": "1 / 0"}), "error: it divides by zero"),
    (Call("calculater", {}), "error: there is no tool 'calculater'; did you mean 'calculator'?"),
    (Call("calculator", {"sum": "1 + 1"}), "error: calculator has no argument 'sum'; there are expression"),
    (Call("calculator", {}), "error: calculator needs the argument 'expression'"),
    (Call("calculator", {"expression": 12}), "error: the argument 'expression' of calculator is of the type string"),
    (Call("weather", {"city": "Rome", "days": True}), "error: the argument 'days' of weather is of the type integer"),
    (Call("weather", {"city": "Rome", "days": None}), "error: the argument 'days' of weather is of the type integer"),
    (Call("weather", {"city": "Rome", "days": 2.5}), "error: the argument 'days' of weather is of the type integer"),
    (Call("weather", {"city": "Rome", "days": 2.0}), "2 days of sun in Rome"),
    (Call("word", {"word": "w", "n": None, "kind": "verb", "at": "end"}), "w None verb end"),
    (Call("word", {"word": "w", "n": 3.0}), "w 3 noun 0"),
    (Call("word", {"word": "w", "kind": "v"}), "error: the argument 'kind' of word is one of noun, verb"),
    (Call("word", {"word": "w", "at": []}), "error: the argument 'at' of word is of the type integer or string"),
    (Call("later", {"city": "Rome"}), "sun in Rome"),
    (Call("", {}, "the call is no JSON"), "error: the call is no JSON"),
    (Call("weather", {"city": "closed"}), "error: SystemExit: no more"),
    (Call("weather", {"city": "gone"}), "error: its process ended"),
    (Call("python", {"code": "print(6 * 7)"}), "42\n"),
    (Call("python", {"code": "1 / 0"}), "error: ZeroDivisionError: division by zero"),
    (Call("python", {"code": "import os; os._exit(1)"}), "error: its process ended before the program did"),
    (Call("python", {"code": "print('x' * 10**7)"}), "error: ValueError: more than 524288 bytes were printed"),
    (Call("python", {"code": "x = 1"}), "(it printed nothing)"),
])
def test_a_call_comes_to_a_text(mine: dict[str, Tool], call: Call, said: str) -> None:
    assert observation(mine, call) == said


def test_programs_know_nothing_of_each_other(mine: dict[str, Tool]) -> None:
    observation(mine, Call("python", {"code": "x = 1"}))
    assert observation(mine, Call("python", {"code": "print(x)"})).startswith("error: NameError")


def test_a_tool_that_hangs_is_told_so_in_bounded_time(mine: dict[str, Tool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "SECONDS", 0.3)
    monkeypatch.setattr(programs, "SECONDS", 0.3)
    began = time.monotonic()
    assert observation(mine, Call("weather", {"city": "nowhere"})) == "error: no answer within 0.3 seconds"
    hangs = Call("python", {"code": "while True: pass"})
    assert observation(mine, hangs) == "error: it did not end within 0.3 seconds"
    assert time.monotonic() - began < 50, "it would have slept for a minute"


def test_what_floods_is_cut(mine: dict[str, Tool]) -> None:
    said = observation(mine, Call("weather", {"city": "flood"}))
    assert said.endswith(" (cut, of 60,000 characters)")
    assert len(said) < asking.LONGEST + 50


def test_what_a_person_has_to_mend_is_not_told_to_the_model(
    mine: dict[str, Tool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace("of sun", "of rain"))
    with pytest.raises(ToolError, match="it was edited since the run began; run it again"):
        observation(mine, Call("weather", {"city": "Rome"}))

    def refuses(*_: object) -> bytes:
        raise SandboxError("no namespaces here")

    monkeypatch.setattr(programs.sandbox, "answer", refuses)
    with pytest.raises(SandboxError, match="no namespaces here"):
        observation(mine, Call("python", {"code": "print(1)"}))


def test_what_is_no_tool_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    with pytest.raises(ToolError, match="a tool is a function with a type for each argument"):
        tools_of(ToolUse(("mine.py:no_docstring",), folder=str(tmp_path)))
    for name in ("drops", "later_drops"):
        with pytest.raises(ToolError, match=f"tool 'mine.py:{name}' yields; a tool returns what it has to say"):
            tools_of(ToolUse((f"mine.py:{name}",), folder=str(tmp_path)))
    with pytest.raises(RegistryError, match="did you mean 'calculator'"):
        tools_of(ToolUse(("calculater",)))
    with pytest.raises(ToolError, match="two tools have one name"):
        tools_of(ToolUse(("calculator", "calculator")))
    with pytest.raises(ToolError, match="needs a folder of documents"):
        tools_of(ToolUse(("search",)))
