"""Rows of CodeContests and of DeepCoder's training set."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval.errors import ProblemSetError
from eval.problems import load
from rewards.types import Label
from tests.eval.problems.code.rows import cheats_that_pass, only, verdict, written

DOUBLE = "print(2 * int(input()))"
CONTEST: dict[str, Any] = {
    "name": "1_A. Double", "description": "Print twice the number.",
    "public_tests": {"input": ["3\n"], "output": ["6\n"]},
    "private_tests": {"input": ["4\n", "5\n"], "output": ["8\n", "10\n"]},
    "generated_tests": {"input": [], "output": []},
    "source": 2, "difficulty": 7, "solutions": {"language": [2, 3], "solution": ["int main() {}", DOUBLE]},
    "incorrect_solutions": {"language": [], "solution": []}, "cf_contest_id": 1, "cf_index": "A", "cf_tags": ["math"],
    "time_limit": {"seconds": 9, "nanos": 0}, "memory_limit_bytes": 256000000, "input_file": "", "output_file": "",
    "is_description_translated": False, "untranslated_description": "",
}  # fmt: skip
CASES: dict[str, Any] = {
    "problem": "Return twice the number.",
    "starter_code": "class Solution:\n    def double(self, n: int) -> int:\n        ",
    "tests": json.dumps([{"input": "3", "output": "6", "testtype": "functional", "metadata": {"func_name": "double"}}]),
}  # fmt: skip


def test_code_contests(tmp_path: Path) -> None:
    problem = only(tmp_path, CONTEST)
    assert (problem.id, len(problem.answer["tests"])) == ("code_contests-1_A. Double", 3)
    assert problem.answer["each"] == 9
    assert problem.meta == {"solution": f"```python\n{DOUBLE}\n```"}
    assert verdict(problem, DOUBLE).correct
    assert verdict(problem, "print(6)").share == pytest.approx(1 / 3)
    assert cheats_that_pass(problem, "main") == []


def test_deepcoder(tmp_path: Path) -> None:
    problem = only(tmp_path, CASES)
    assert verdict(problem, "class Solution:\n    def double(self, n): return n + n").correct
    assert verdict(problem, "class Solution:\n    def double(self, n): return n").label is Label.WRONG
    called = [{"type": "function_call", "fn_name": "double", "input": [n], "output": 2 * n} for n in (3, 4)]
    problem = only(tmp_path, {"problem": "Double.", "tests": json.dumps(called)})
    assert verdict(problem, "def double(n): return n + n").correct
    assert verdict(problem, "def double(n): return 6").label is Label.WRONG
    printed = json.dumps([{"type": "stdin_stdout", "input": "3\n", "output": "6\n"}])
    assert verdict(only(tmp_path, {"problem": "Double.", "tests": printed}), DOUBLE).correct
    tests = json.dumps({"inputs": ["3\n"], "outputs": ["6\n"]})
    assert verdict(only(tmp_path, {"problem": "Double.", "tests": tests}), DOUBLE).correct


@pytest.mark.parametrize(("row", "said"), [
    ({**CONTEST, "input_file": "in.txt"}, "read or write files"),
    ({**CONTEST, "public_tests": [1], "private_tests": None}, "have no lists of inputs and outputs in 'public_tests'"),
    ({**CONTEST, "public_tests": None, "private_tests": None}, "have no tests"),
    ({**CONTEST, "private_tests": {"input": ["1"], "output": []}}, "have more inputs than outputs, or fewer"),
    ({**CONTEST, "description": "Find a or b. If there are several answers, print any."}, "accept several answers"),
    ({**CASES, "tests": "[]"}, "have no tests"),
    ({**CASES, "tests": ""}, "have no tests"),
    ({**CASES, "tests": json.dumps([{"input": "3", "output": "6", "testtype": "functional"}])}, "no func_name"),
    ({**CASES, "tests": json.dumps([{"input": "3", "output": "6", "type": "function_call"}])}, "of other types than"),
    ({**CASES, "tests": json.dumps([{"input": "3", "output": "6", "fn_name": "f"}])}, "inputs that are no lists"),
    ({**CASES, "tests": json.dumps([{"input": [3], "output": 6, "fn_name": name} for name in "fg"])}, "several func"),
])
def test_rows_that_cannot_be_graded(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(ProblemSetError, match=said):
        load(written(tmp_path, row))
