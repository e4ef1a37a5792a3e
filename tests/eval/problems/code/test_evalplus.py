"""Rows of HumanEval+ and MBPP+, as evalplus and as the hub has them."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval.errors import ProblemSetError
from eval.problems import load
from eval.problems.code.row import require_tests
from rewards.types import Label
from tests.eval.problems.code.rows import cheats_that_pass, only, verdict, written

ASSERTION = """import numpy as np
from math import inf

def is_floats(x) -> bool:
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False


def assertion(out, exp, atol):
    exact_match = out == exp

    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        ALLCLOSE
    else:
        assert exact_match

"""
CLOSE = ASSERTION.replace("ALLCLOSE", "assert np.allclose(out, exp, rtol=1e-07, atol=atol)")
OLDER = ASSERTION.replace("ALLCLOSE", "np.testing.assert_allclose(out, exp, atol=atol)")
PROMPT = 'from typing import List\n\n\ndef halves(xs: List[int]) -> List[float]:\n    """ Half of each.\n    """\n'
ROW: dict[str, Any] = {
    "task_id": "HumanEval/900", "prompt": PROMPT, "entry_point": "halves",
    "canonical_solution": "    return [x / 2 for x in xs]\n",
}  # fmt: skip
INPUTS: dict[str, Any] = {**ROW, "contract": "    assert all(xs)\n", "base_input": [[[1, 2]], [[]]],
                          "plus_input": [[[3]], [[10**6, 7]]], "atol": 0}
CHECK: dict[str, Any] = {**ROW, "test": f"\n\n{CLOSE}def check(candidate):\n    inputs = [[[1, 2]], [[]], [[3]]]\n"
                         "    results = [[0.5, 1.0], [], [1.5]]\n    for i, (inp, exp) in enumerate(zip(inputs, "
                         "results)):\n"
                         "        assertion(candidate(*inp), exp, 0)\n"}  # fmt: skip
CROSS: dict[str, Any] = {**ROW, "test": f"\n{OLDER}{PROMPT.replace(' halves(', ' ref_func(')}    return [x / 2 for x "
                         "in xs]\n\ndef check(candidate):\n    inputs = [[[1, 2]], [[5, 6]]]\n    for i, inp in "
                         "enumerate(inputs):\n        assertion(candidate(*inp), ref_func(*inp), 0)\n"}  # fmt: skip
ZERO: dict[str, Any] = {
    "task_id": "HumanEval/32", "entry_point": "find_zero", "atol": 1e-4, "base_input": [[[1, 2]]],
    "prompt": "import math\n\n\ndef poly(xs: list, x: float):\n    return sum(c * math.pow(x, i) for i, c in "
              "enumerate(xs))\n\n\ndef find_zero(xs: list):\n    ''' Find x such that poly(x) = 0. '''\n",
    "canonical_solution": "    return -xs[0] / xs[1]\n", "plus_input": [[[-3, 1]]],
}  # fmt: skip
MBPP: dict[str, Any] = {
    "task_id": 2, "code": "\ndef shared(a, b):\n  return tuple(set(a) & set(b))\n", "source_file": "x.ipynb",
    "prompt": "Write a function to find the shared elements.", "test_imports": [],
    "test_list": ["assert set(shared((3, 4, 5), (5, 4))) == {4, 5}", "assert set(shared((1,), (2,))) == set()"],
    "test": f"{CLOSE}inputs = [[(1, 2), (2, 3)], [(9,), (9,)]]\nresults = [(2,), (9,)]\n"
            "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assertion(shared(*inp), exp, 0)\n",
}  # fmt: skip


@pytest.mark.parametrize("row", [INPUTS, CHECK, CROSS])
def test_floats_within_their_tolerance(tmp_path: Path, row: dict[str, Any]) -> None:
    problem = only(tmp_path, row)
    assert problem.id.endswith("-HumanEval/900")
    assert problem.prompt == PROMPT
    assert verdict(problem, "    return [x / 2 for x in xs]").correct
    assert verdict(problem, "def halves(xs):\n    return [x / 2 + 1e-8 for x in xs]").correct
    assert verdict(problem, "import numpy as np\ndef halves(xs):\n    return [np.float64(x) / 2 for x in xs]").correct
    assert verdict(problem, "def halves(xs):\n    return [x / 2 + 1e-4 for x in xs]").label is Label.WRONG
    assert verdict(problem, "def halves(xs):\n    return [x // 2 for x in xs]").label is Label.WRONG
    assert verdict(problem, "def halves(xs):\n    try: return [x / 2 for x in xs]\n    finally: xs.clear()").correct
    assert verdict(problem, "def halves(xs):\n    xs.clear()\n    return []").label is Label.WRONG
    assert cheats_that_pass(problem, "halves") == []


@pytest.mark.parametrize("assertion", [CLOSE, OLDER], ids=["close", "older"])
def test_an_empty_list_is_no_number(tmp_path: Path, assertion: str) -> None:
    test = (f"{assertion}def check(candidate):\n    for inp, exp in zip([[[1]], [[3, 4]]], [0.5, 3.5]):\n"
            "        assertion(candidate(*inp), exp, 0)\n")
    problem = only(tmp_path, {**ROW, "canonical_solution": "    return sum(xs) / 2", "test": test})
    assert verdict(problem, "    return sum(xs) / 2 + 1e-9").correct
    assert cheats_that_pass(problem, "halves") == []


def test_any_zero_of_a_polynomial_is_right(tmp_path: Path) -> None:
    problem = only(tmp_path, ZERO)
    assert verdict(problem, "    return -xs[0] / xs[1] + 1e-6").correct
    assert verdict(problem, "    return -xs[0] / xs[1] + 1e-3").label is Label.WRONG
    assert cheats_that_pass(problem, "find_zero") == []


def test_without_a_tolerance_types_are_pythons(tmp_path: Path) -> None:
    row = {**INPUTS, "canonical_solution": "    return sum(xs)\n", "plus_input": {}}
    problem = only(tmp_path, row)
    assert verdict(problem, "    return sum(xs) * 1.0").correct
    assert verdict(problem, "    return sum(xs) + 1e-9").label is Label.WRONG
    assert verdict(problem, "    return str(sum(xs))").label is Label.WRONG


def test_rows_of_mbpp_plus(tmp_path: Path) -> None:
    problem = only(tmp_path, MBPP)
    assert (problem.id, problem.answer["names"], len(problem.answer["asserts"])) == ("mbppplus-2", ["shared"], 3)
    assert "assert set(shared((1,), (2,))) == set()" in problem.prompt
    assert "inputs" not in problem.prompt
    assert verdict(problem, MBPP["code"]).correct
    assert verdict(problem, "def shared(a, b): return tuple(x for x in a if x in b)").correct
    assert verdict(problem, "def shared(a, b): return set(a) & set(b)").share == pytest.approx(2 / 3)
    assert verdict(problem, "def shared(a, b): return a").share == 0
    assert cheats_that_pass(problem, "shared") == []


def test_a_file_without_the_added_tests(tmp_path: Path) -> None:
    problem = only(tmp_path, {key: value for key, value in MBPP.items() if key != "test"})
    assert len(problem.answer["asserts"]) == 2
    assert verdict(problem, MBPP["code"]).correct


@pytest.mark.parametrize(("row", "change", "said"), [
    (INPUTS, {"base_input": [], "plus_input": {}}, "have no tests"),
    (INPUTS, {"base_input": [3]}, "have no lists of arguments in 'base_input'"),
    (INPUTS, {"atol": "x"}, "have no JSON in 'atol'"),
    (INPUTS, {"atol": 7}, "have an 'atol' that is no tolerance"),
    (INPUTS, {"canonical_solution": "  return (", }, "have solutions that are no Python"),
    (INPUTS, {"entry_point": "thirds"}, "does not define the entry_point"),
    (INPUTS, {"task_id": "Mbpp/2"}, "MBPP.* which has lost its tuples; take evalplus/mbppplus"),
    (CHECK, {"test": "x = 1"}, r"have no check\(candidate\)"),
    (CHECK, {"test": "import scipy\ndef check(candidate): candidate(1)"}, "cannot be imported .*: scipy"),
    (CHECK, {"test": "import math as m, scipy\ndef check(candidate): candidate(1)"}, "cannot be imported .*: scipy"),
    (CHECK, {"test": "def check(candidate): candidate(__import__('scipy'))"}, "cannot be imported .*: scipy"),
    (CHECK, {"entry_point": "a.b"}, "no name of a function"),
    (MBPP, {"test_list": []}, "have no tests"),
    (MBPP, {"test_list": "[1]"}, "have no tests"),
    (MBPP, {"test": "for"}, "have tests that are no Python"),
    (MBPP, {"code": "def other(): pass"}, "do not call their solution"),
    (MBPP, {"test_imports": ["import sympy"]}, "cannot be imported .*: sympy"),
    (MBPP, {"test_imports": 1}, "have no list of imports"),
])
def test_rows_that_cannot_be_graded(tmp_path: Path, row: dict[str, Any], change: dict[str, Any], said: str) -> None:
    with pytest.raises(ProblemSetError, match=said):
        load(written(tmp_path, {**row, **change}))


def test_a_text_in_tests_may_talk_of_an_import() -> None:
    require_tests('def check(candidate):\n    """Import what you need, as in `import scipy`."""\n    candidate(1)')


def test_lists_may_be_json(tmp_path: Path) -> None:
    row = {**INPUTS, "base_input": json.dumps(INPUTS["base_input"]), "plus_input": "[]"}
    assert verdict(only(tmp_path, row), "    return [x / 2 for x in xs]").correct
