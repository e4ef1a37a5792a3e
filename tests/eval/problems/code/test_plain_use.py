"""Rows of KodCode whose tests no program could pass are left out and counted, and no others."""

from pathlib import Path

import pytest

from eval.errors import ProblemSetError
from eval.problems import load
from rewards.types import Label
from tests.eval.problems.code.rows import only, verdict, written

STACK = (
    "from collections import deque, namedtuple\nfrom enum import Enum\nfrom fractions import Fraction\n"
    "import datetime\n"
    "LIMIT = 2\nITEMS = [2, 3]\nother = LIMIT + 1\nPoint = namedtuple('Point', 'x y')\n"
    "class Color(Enum):\n    RED = 1\n"
    "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
    "    def __eq__(self, o): return self.items == o.items\n    def __len__(self): return len(self.items)\n"
    "    def __repr__(self): return f'Stack({self.items})'\n"
    "    @staticmethod\n    def of(x): return Stack()\n"
    "def f(x): return x\ndef point(): return Point(1, 2)\ndef queue(): return deque([Fraction(1), datetime.date.min])\n"
    "g = lambda x: x\nh = f\n"
)
BEFORE = "import datetime\nfrom collections import deque\nfrom fractions import Fraction\nimport solution as s\n" \
         "from solution import *\n"


def written_with(*lines: str) -> str:
    return f"{BEFORE}def test_it():\n    a = Stack()\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(("line", "said"), [
    ("assert f(2) == LIMIT", "read a value of the program's own .*: LIMIT"),
    ("assert f(2) in ITEMS", "read a value of the program's own"),
    ("assert f(2) == s.LIMIT", "read a value of the program's own .*: LIMIT"),
    ("limit = LIMIT", "read a value of the program's own"),
    ("assert f(1) == Color.RED", r"look into a class or function of the program's own .*: Color\.RED"),
    ("assert len(Stack.of(1)) == 0", r"look into .*: Stack\.of"),
    ("assert len(s.Stack.of(1)) == 0", r"look into .*: s\.Stack\.of"),
    ("assert f.__name__ == 'f'", r"look into .*: f\.__name__"),
    ("assert Stack() == Stack()", r"compare an instance of the program's own.*: Stack\(\)"),
    ("assert s.Stack() != 1", "compare an instance"), ("assert a == a", "compare an instance .*: a"),
    ("assert 1 in a", "compare an instance"), ("assert not a", "compare an instance"), ("assert a", "compare an inst"),
    ("b = a + a", "compare an instance"), ("with a: pass", "compare an instance"), ("assert a < a", "compare an inst"),
    ("self.assertEqual(a, a)", "compare an instance"), ("self.assertIn(1, a)", "compare an instance"),
    ("assert f(lambda x: x) == 1", "hand over what is not plain data .*: lambda"),
    ("assert f(x=Fraction(1, 2)) == 1", r"hand over what is not plain data .*: Fraction\(1, 2\)"),
    ("assert f(datetime.date.today()) == 1", "hand over what is not plain data"),
    ("assert f(helper) == 1", "hand over what is not plain data .*: helper"),
    ("assert f([1]) == deque([1])", "compare with what is not plain data"),
    ("assert f(1) == datetime.date(2020, 1, 1)", "compare with what is not plain data"),
    ("assert point().x == 1", "read a named tuple by its names .*: x"),
    ("xs = [1]; assert f(xs) is xs", "ask for the very same object"),
])
def test_what_no_program_could_pass(tmp_path: Path, line: str, said: str) -> None:
    test = written_with(line) + "def helper(x): return x\n"
    with pytest.raises(ProblemSetError, match=f"1 have tests that .*{said}"):
        load(written(tmp_path, {"question": "Write it.", "solution": STACK, "test": test}))


@pytest.mark.parametrize("line", [
    "assert f(2) == g(2) == h(2) == s.f(2) == s.h(2)", "other = 2\n    assert f(2) == other and other.real == 2",
    "assert repr(a) == str(a) == '%s' % a == f'{a}' == 'Stack([])'", "assert a is not None and a.push(1) is None",
    "a.push(1); assert len(a) == 1 and 1 in a.items and a.items == [1] and sorted(f(a.items)) == [1]",
    "assert type(f(1)) is int and f(1) is not a and f(True) is True", "assert point() == (1, 2)",
    "x = Fraction(1, 2); assert f(1) == x + x", "assert list(map(f, [1])) == [1]", "assert f(len(deque([1]))) == 1",
    "assert f(datetime.date.today().isoformat())[:2] == '20'", "assert f(int)(1.5) == 1",
])
def test_what_a_proxy_can_do_is_kept_and_right(tmp_path: Path, line: str) -> None:
    problem = only(tmp_path, {"question": "Write it.", "solution": STACK, "test": written_with(line)})
    assert verdict(problem, STACK).correct, verdict(problem, STACK)
    assert verdict(problem, "def Stack(): pass\ndef f(x): pass").label is Label.WRONG


def test_what_a_solution_does_not_make_may_be_compared_with(tmp_path: Path) -> None:
    test = "from fractions import Fraction\nfrom solution import half\n" \
           "def test_it():\n    assert half(1) == Fraction(1, 2)"
    problem = only(tmp_path, {"question": "Write it.", "solution": "def half(x): return x / 2", "test": test})
    assert verdict(problem, "def half(x): return x * 0.5").correct
