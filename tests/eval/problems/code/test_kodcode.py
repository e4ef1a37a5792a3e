"""Rows of KodCode: tests written for pytest, without pytest."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eval.errors import ProblemSetError
from eval.problems import load
from eval.problems.code.kodcode import STAND_IN
from rewards.types import Label
from tests.eval.problems.code.rows import cheats_that_pass, only, verdict, written

ROW: dict[str, Any] = {
    "version": "v1.0", "style": "instruct", "subset": "Algorithm", "question_id": "Algorithm_1_I",
    "question": "Write `mean(xs)`, which raises a ValueError for an empty list.",
    "solution": "def mean(xs):\n    if not xs:\n        raise ValueError('nothing to average')\n"
                "    return sum(xs) / len(xs)",
    "test": "import pytest\nfrom solution import mean\n\ndef test_two():\n    assert mean([1, 2]) == 1.5\n\n"
            "@pytest.mark.parametrize('xs, y', [([3], 3), ([1, 0, 0], pytest.approx(1 / 3))])\n"
            "def test_more(xs, y):\n    assert mean(xs) == y\n\ndef test_empty():\n    with pytest.raises(ValueError, "
            "match='average'):\n        mean([])\n",
    "test_info": [{"function_name": "mean", "parameter_list": "(xs)", "function_declaration": "def mean(xs):",
                   "docstring": ""}], "gpt_difficulty": "easy", "metadata": {"seed_ids": "[1]"},
}  # fmt: skip


def row(test: str, solution: str | None = None) -> dict[str, Any]:
    return {**ROW, "test": test, **({} if solution is None else {"solution": solution})}


def test_each_test_function_counts(tmp_path: Path) -> None:
    problem = only(tmp_path, ROW)
    assert (problem.id, problem.answer["names"]) == ("kodcode-Algorithm_1_I", ["mean"])
    assert problem.answer["asserts"] == ["pytest.run(test_two)", "pytest.run(test_more)", "pytest.run(test_empty)"]
    assert "test_two" not in problem.prompt
    assert verdict(problem, ROW["solution"]).correct
    assert verdict(problem, ROW["solution"].replace("ValueError", "TypeError")).share == pytest.approx(2 / 3)
    assert verdict(problem, ROW["solution"].replace("nothing to average", "?")).share == pytest.approx(2 / 3)
    assert verdict(problem, "def mean(xs): return sum(xs) / len(xs)").share == pytest.approx(2 / 3)
    assert verdict(problem, "def mean(xs): return 1.5").share == pytest.approx(1 / 3)
    own = "class Nothing(ValueError): pass\n" + ROW["solution"].replace("raise ValueError", "raise Nothing")
    assert verdict(problem, own).correct
    assert cheats_that_pass(problem, "mean") == []


@pytest.mark.parametrize("program", [
    "x = 1", "mean = 3", "def mean(xs): raise SystemExit", "def mean(xs): raise KeyboardInterrupt",
    "class E(BaseException): pass\ndef mean(xs): raise E", "class E(Exception): pass\ndef mean(xs): raise E",
    "class E(Exception): pass\nE.__name__ = 'ValueError'\ndef mean(xs): raise E('average')",
    "import os\ndef mean(xs): os._exit(0)", "def mean(xs): return mean",
])
def test_no_test_that_expects_an_exception_takes_these_for_one(tmp_path: Path, program: str) -> None:
    test = "from solution import mean\nimport pytest\ndef test_it():\n    with pytest.raises(ValueError, " \
           "match='average'):\n        mean([])\ndef test_any():\n    try:\n        mean([])\n" \
           "    except ValueError:\n        return\n" \
           "    assert False\n"
    one = verdict(only(tmp_path, row(test)), program)
    assert (one.label, one.share) == (Label.WRONG, 0)


@pytest.mark.parametrize("test", [
    "def test_it():\n    assert mean([1]) == 1", "from solution import *\ndef test_it():\n    assert mean([1]) == 1",
    "import solution\ndef test_it():\n    assert solution.mean([1]) == 1",
    "import solution as s, math\ndef test_it():\n    assert s.mean([1]) == math.floor(1.5)",
    "from solution import mean as average\ndef test_it():\n    assert average([1]) == 1\ntest_it()",
    "def test_it():\n    from solution import mean\n    assert mean([1]) == 1",
    "from .solution import mean\ndef test_it():\n    assert mean([1]) == 1",
    "from solution import mean\nfrom pytest import approx, raises as r, mark\n@mark.slow\n@mark.timeout(3)\n"
    "def test_it():\n    assert mean([1]) == approx(1 + 1e-9)\n    r(ValueError, mean, [])",
    "from solution import mean\nclass TestMean:\n    def setup_method(self, method):\n        self.one = [1]\n"
    "    def test_it(self):\n        assert mean(self.one) == 1\n",
    "import unittest\nfrom solution import mean\nclass Means(unittest.TestCase):\n    def setUp(self):\n"
    "        self.one = [1]\n    def test_it(self):\n        self.assertEqual(mean(self.one), 1)\n"
    "        self.assertRaises(ValueError, mean, [])\nif __name__ == '__main__':\n    unittest.main()",
    "import numpy as np\nfrom solution import mean\ndef test_it():\n    assert np.allclose(mean([1, 2]), [1.5]) and "
    "mean([1]) == 1",
    "import pytest\nfrom solution import mean\n@pytest.mark.parametrize('a', [1])\n"
    "@pytest.mark.parametrize(['b', 'c'], [(2, 3), pytest.param(0, 1)])\ndef test_it(a, b, c):\n"
    "    assert mean([a, b, c]) == (a + b + c) / 3\n"
    "    assert mean([1]) == 1",
    "from solution import mean\nimport timeit\ndef test_it():\n    assert timeit.timeit(lambda: mean([1]), "
    "number=9) < 9\n    assert mean([1]) == 1",
])  # fmt: skip
def test_ways_to_write_tests(tmp_path: Path, test: str) -> None:
    problem = only(tmp_path, {**ROW, "test": "", "test_code": test})
    assert verdict(problem, ROW["solution"]).correct, verdict(problem, ROW["solution"])
    assert verdict(problem, "def mean(xs): return len(xs) and 0.5").label is Label.WRONG
    assert cheats_that_pass(problem, "mean") == []


TREE = "class Tree:\n    def __init__(self, value, left=None):\n        self.value, self.left = value, left\n"
GROW = f"{TREE}def grown(tree): return Tree(tree.value + 1, tree)"
STACK = ("class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
         "    def pop(self):\n        if not self.items: raise IndexError('empty')\n        return self.items.pop()\n"
         "    def __len__(self): return len(self.items)\n")


def test_classes_that_only_hold_something(tmp_path: Path) -> None:
    test = "from solution import Tree, grown\ndef test_it():\n    t = grown(Tree(1))\n    n = 0\n    while t:\n" \
           "        n += t.value\n        t = t.left\n    assert n == 3\n"
    problem = only(tmp_path, row(test, GROW))
    assert (problem.answer["names"], problem.answer["classes"]) == (["grown"], ["Tree"])
    assert verdict(problem, GROW).correct
    assert verdict(problem, GROW.replace("+ 1", "+ 2")).label is Label.WRONG
    assert verdict(problem, f"{TREE}def grown(tree): return 3").label is Label.WRONG


@pytest.mark.parametrize("name", ["cast", "field", "re", "pytest_", "Any", "run", "dataclass", "math", "match"])
def test_a_function_may_have_any_name(tmp_path: Path, name: str) -> None:
    test = f"from solution import {name}\ndef test_it():\n    assert {name}(2) == 4\n"
    problem = only(tmp_path, row(test, f"def {name}(x): return 2 * x"))
    assert verdict(problem, f"def {name}(x): return x + x").correct
    assert verdict(problem, f"def {name}(x): return 3 * x").label is Label.WRONG


def test_classes_with_methods_stay_with_the_program(tmp_path: Path) -> None:
    test = "import pytest\nfrom solution import Stack\ndef test_it():\n    s = Stack()\n    s.push(1)\n" \
           "    s.push([2])\n    assert len(s) == 2\n    assert s.pop() == [2]\n    assert s.pop() == 1\n" \
           "    with pytest.raises(IndexError):\n        s.pop()\n"
    problem = only(tmp_path, row(test, STACK))
    assert verdict(problem, STACK).correct
    assert verdict(problem, STACK.replace("return self.items.pop()", "return self.items.pop(0)")).label is Label.WRONG
    assert cheats_that_pass(problem, "Stack") == []


@pytest.mark.parametrize(("test", "said"), [
    ("def test_it(:", "have tests that are no Python"),
    ("from solution import mean\nassert mean([1]) == 1", "have no test functions"),
    ("def mean(xs): return 1\ndef test_it():\n    assert mean([1]) == 1", "have tests that never ask the program"),
    ("def test_it():\n    assert True", "have tests that never ask the program"),
    ("import scipy\ndef test_it():\n    assert mean([1]) == 1", "import what cannot be imported .*: scipy"),
    ("import pytest\n@pytest.fixture\ndef xs():\n    return [1]\ndef test_it(xs):\n    assert mean(xs) == 1",
     "have tests with fixtures .*: xs"),
    ("def test_it(capsys):\n    assert mean([1]) == 1", "have tests with fixtures .*: capsys"),
    ("def setup_module():\n    pass\ndef test_it():\n    assert mean([1]) == 1", "have tests with fixtures"),
    ("async def test_it():\n    assert mean([1]) == 1", "have tests that are coroutines"),
    ("import pytest\n@pytest.mark.xfail\ndef test_it():\n    assert mean([1]) == 2", "expected to fail"),
    ("import pytest\n@pytest.mark.skip\ndef test_it():\n    assert mean([1]) == 2", "have no test functions"),
    ("from unittest.mock import patch\n@patch('solution.mean')\ndef test_it(m):\n    assert mean([1]) == 1",
     "cannot be imported|patch the program"),
    ("def test_it():\n    xs = [1]\n    mean(xs)\n    assert xs == [1]", "tests of what a call changes or prints"),
    ("import io, contextlib\ndef test_it():\n    with contextlib.redirect_stdout(io.StringIO()):\n        mean([1])",
     "use files or catch what is printed"),
    ("def test_it():\n    assert isinstance(Mean([1]), Mean)", "need a class of the program's own .*: Mean"),
    ("import pytest\ndef test_it():\n    with pytest.raises(Mean):\n        mean([])",
     "need a class of the program's own"),
])  # fmt: skip
def test_rows_that_cannot_be_graded(tmp_path: Path, test: str, said: str) -> None:
    solution = ROW["solution"] + "\nclass Mean(Exception):\n    def __init__(self, xs): pass\n"
    with pytest.raises(ProblemSetError, match=said):
        load(written(tmp_path, row(test, solution)))


@pytest.mark.parametrize(("change", "said"), [
    ({"solution": ""}, "have no text in 'solution'"), ({"solution": "def f("}, "have solutions that are no Python"),
    ({"test": "", "test_code": ""}, "have no text in 'test_code'"), ({"question": " "}, "have no text in 'question'"),
    ({"test": 3}, "have no text in 'test'"),
])
def test_rows_without_their_texts(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ProblemSetError, match=said):
        load(written(tmp_path, {**ROW, **change}))


NUMBERS = st.floats(-1e9, 1e9) | st.integers(-10**9, 10**9) | st.sampled_from([float("nan"), float("inf"), True, False])
VALUES = NUMBERS | st.lists(NUMBERS, max_size=2) | st.dictionaries(st.sampled_from("ab"), NUMBERS)
SMALL = st.floats(0, 1e-3)
OPTIONS = st.fixed_dictionaries({}, optional={"rel": SMALL, "abs": SMALL, "nan_ok": st.booleans()})


@given(VALUES, st.data(), OPTIONS)
def test_approx_is_as_pytest_has_it(expected: Any, data: st.DataObject, options: dict[str, Any]) -> None:
    namespace: dict[str, Any] = {"__name__": "stand_in"}
    exec(STAND_IN, namespace)
    near = st.just(expected) | VALUES | st.none() | st.text()
    if isinstance(expected, float):
        near |= st.floats(-1e-3, 1e-3).map(lambda share: expected * (1 + share))
    actual = data.draw(near)
    collections = [type(one) for one in (expected, actual) if isinstance(one, list | dict)]
    assume(len({*collections}) < 2)  # pytest takes {} for near to []
    ours, theirs = (kind.approx(expected, **options) for kind in (namespace["pytest"], pytest))
    assert (actual == ours) == (actual == theirs)
