"""HumanEval+ and MBPP+ (Liu et al. 2023, arXiv 2305.01210), and HumanEval and MBPP in the same columns.

    {"task_id": "HumanEval/0", "prompt": "def f(..", "entry_point": "f", "canonical_solution": "..",
     "base_input": [[..], ..], "plus_input": [[..], ..], "atol": 0}           evalplus' own file
    {.., "test": "import numpy as np\\n..\\ndef check(candidate):\\n .."}      the hub's
    {"task_id": 2, "prompt": "Write a function ..", "code": "def f(..", "test_list": ["assert f(1) == 2"],
     "test_imports": [], "test": "inputs = ..\\nresults = ..\\nfor ..: assertion(f(*inp), exp, 0)"}

Where a row has inputs alone, what is expected is what its own solution gives for them, which runs with the tests.
"""

import ast
import re
from typing import Any  # JSON

from eval.problems.code.prompts import ENDING
from eval.problems.code.row import (
    CannotGrade,
    CodeProblem,
    in_fence,
    module,
    name,
    parsed,
    require_check,
    require_gradable,
    require_tests,
    text,
)
from eval.row_files import Row

INPUTS = ("entry_point", "prompt", "canonical_solution", "base_input")
CHECK = ("entry_point", "prompt", "canonical_solution", "test")
MBPP = ("code", "prompt", "test_list")
SECONDS = 30.0
"""For all inputs of a problem, of which there can be a thousand; the slowest solutions take a few seconds."""

_RELATIVE = 1e-7
_LEAST_OF_FLOATS = 1e-6
# As evalplus compares (evalplus/eval): the same, or near where floats are expected or the problem has a tolerance.
_COMPARE = f"""
def _floats(x):
    return isinstance(x, float) or isinstance(x, (list, tuple)) and all(isinstance(one, float) for one in x)


def _near(out, exp, atol):
    if isinstance(exp, (list, tuple)):
        return isinstance(out, (list, tuple)) and len(out) == len(exp) and all(map(_near, out, exp, [atol] * len(exp)))
    if not isinstance(exp, (int, float)) or not isinstance(out, (int, float)):
        return out == exp
    return out == exp or out != out and exp != exp or abs(out - exp) <= atol + {_RELATIVE} * abs(exp)


def _assert(out, exp, atol):
    atol = {_LEAST_OF_FLOATS} if atol == 0 and _floats(exp) else atol
    assert out == exp or atol != 0 and _near(out, exp, atol), f"{{out!r}} where {{exp!r}} is expected"


def check(candidate):
    for given in _INPUTS:
        _assert(candidate(*_copy(given)), _SOLUTION(*_copy(given)), _ATOL)
"""
# The one problem of HumanEval whose answers differ: any zero of the polynomial is right.
_ZERO = """
def check(candidate):
    for (xs,) in _INPUTS:
        x = candidate(_copy(xs))
        assert abs(sum(c * x ** i for i, c in enumerate(xs))) <= _ATOL, f"{x!r} is no zero"
"""


def read_check(row: Row) -> CodeProblem:
    """A row with a `check(candidate)`. Raises CannotGrade."""
    prompt, entry, test = text(row, "prompt"), text(row, "entry_point"), text(row, "test")
    require_check(test)
    return _continued(row, prompt, entry, test)


def read_inputs(row: Row) -> CodeProblem:
    """A row with inputs and a solution. Raises CannotGrade."""
    prompt, entry, solution = text(row, "prompt"), text(row, "entry_point"), text(row, "canonical_solution")
    if str(row.get("task_id", "")).startswith("Mbpp"):
        raise CannotGrade("are MBPP+ as JSON, which has lost its tuples; take evalplus/mbppplus of the hub")
    inputs = [*_inputs(row, "base_input"), *_inputs(row, "plus_input")]
    if not inputs:
        raise CannotGrade("have no tests")
    atol = parsed(row.get("atol", 0), "atol")
    if isinstance(atol, bool) or not isinstance(atol, int | float) or not 0 <= atol < 1:
        raise CannotGrade("have an 'atol' that is no tolerance", repr(atol))
    reference = f"{prompt}\n{solution}" if not solution.lstrip().startswith(("def ", "from ", "import ")) else solution
    defined = {node.name for node in module(reference, "solutions").body if isinstance(node, ast.FunctionDef)}
    if entry not in defined:
        raise CannotGrade("have a solution that does not define the entry_point", entry)
    given = f"from copy import deepcopy as _copy\n_INPUTS = {inputs!r}\n_ATOL = {atol!r}\n"
    check = f"{reference}\n_SOLUTION = {entry}\n{given}{_ZERO if entry == 'find_zero' and atol else _COMPARE}"
    return _continued(row, prompt, entry, check)


def read_mbpp(row: Row) -> CodeProblem:
    """A row of MBPP+ or MBPP. Raises CannotGrade."""
    question, code, shown = text(row, "prompt"), text(row, "code"), parsed(row["test_list"], "test_list")
    if not isinstance(shown, list) or not all(isinstance(one, str) for one in shown) or not shown:
        raise CannotGrade("have no tests")
    test = text(row, "test", needed=False)
    imports = parsed(row.get("test_imports"), "test_imports") or []
    if not isinstance(imports, list) or not all(isinstance(one, str) for one in imports):
        raise CannotGrade("have no list of imports in 'test_imports'", repr(imports))
    setup = "\n".join(imports)
    asserts = [*shown, *([test] if test.strip() else [])]
    source = "\n".join([setup, *asserts])
    require_tests(source)
    defined = [node.name for node in module(code, "solutions").body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    names = sorted({one for one in defined if re.search(rf"\b{one}\b", source)})
    if not names:
        raise CannotGrade("have tests that do not call their solution")
    prompt = f"{question.strip()} Your code should pass these tests:\n\n" + "\n".join(shown) + f"\n\n{ENDING}\n"
    answer = {"names": names, "setup": setup, "asserts": asserts, "seconds": SECONDS}
    return CodeProblem(name(row, "task_id"), prompt, answer, question.strip(), {"solution": in_fence(code)})


def _continued(row: Row, prompt: str, entry: str, check: str) -> CodeProblem:
    if not entry.isidentifier():
        raise CannotGrade("have an entry_point that is no name of a function", entry)
    require_gradable(row, prompt)
    answer = {"entry": entry, "prefix": prompt, "check": check, "seconds": SECONDS}
    # Not stripped: a completion goes on where the prompt ends.
    meta = {"solution": text(row, "canonical_solution", needed=False)}
    return CodeProblem(name(row, "task_id"), prompt, answer, prompt, meta)


def _inputs(row: Row, column: str) -> list[list[Any]]:
    told = parsed(row.get(column), column)
    if told is None or told == {}:  # evalplus has {} where a problem has no more inputs
        return []
    if not isinstance(told, list) or not all(isinstance(one, list) for one in told):
        raise CannotGrade(f"have no lists of arguments in {column!r}")
    return told
