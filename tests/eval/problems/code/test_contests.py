"""Rows of APPS and TACO: standard input and functions, right and wrong, and what cannot be graded."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from eval.errors import ProblemSetError
from eval.problems import load
from rewards.types import Label
from tests.eval.problems.code.rows import cheats_that_pass, only, verdict, written

STDIN: dict[str, Any] = {
    "problem_id": 7, "question": "Given n and then n numbers, print their sum and their mean.\n\n-----Input-----\n..",
    "solutions": json.dumps(["n = int(input())\nx = [*map(int, input().split())]\nprint(sum(x))\nprint(sum(x) / n)"]),
    "input_output": json.dumps({"inputs": ["3\n1 2 3\n", "2\n1 2\n"], "outputs": ["6\n2.0\n", "3\n1.5\n"]}),
    "difficulty": "introductory", "url": "https://example.org/7", "starter_code": "",
}  # fmt: skip
CALL: dict[str, Any] = {
    **STDIN, "problem_id": 8, "question": "Return the two largest numbers, larger first.", "starter_code":
    "def two_largest(numbers):\n\t", "solutions": json.dumps(["def two_largest(n): return sorted(n)[:-3:-1]"]),
    "input_output": json.dumps({"fn_name": "two_largest", "inputs": [[[1, 5, 3]], [[2, 2]]],
                                "outputs": [[[5, 3]], [[2, 2]]]}),
}  # fmt: skip
SOLUTION: dict[str, Any] = {
    **CALL, "question": "Add them.",
    "starter_code": "class Solution:\n    def add(self, a: int, b: int) -> int:\n        ",
    "input_output": json.dumps({"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [3, 7]}),
}
TACO: dict[str, Any] = {
    "question": "Print n twice.", "solutions": "[\"n = input()\\nprint(n)\\nprint(n)\"]", "starter_code": "",
    "input_output": json.dumps({"inputs": [["4"], "5\n"], "outputs": [["4", "4"], "5\n5\n"]}), "difficulty": "EASY",
    "raw_tags": "[]", "name": None, "source": "codeforces", "tags": "[]", "skill_types": "[]", "url": None,
    "Expected Auxiliary Space": None, "time_limit": "8.0 seconds", "date": None, "picture_num": "0",
    "memory_limit": "256.0 megabytes", "Expected Time Complexity": None,
}  # fmt: skip


def test_a_program_of_standard_input(tmp_path: Path) -> None:
    problem = only(tmp_path, STDIN)
    assert (problem.id, problem.family, problem.verifier) == ("apps-7", "apps", "code")
    assert problem.prompt.startswith("Given n")
    assert "reads from standard input" in problem.prompt
    assert verdict(problem, "n = int(input())\nx = [*map(int, input().split())]\nprint(sum(x), ' ')\n\n"
                            "print(f'{sum(x) / n:.7f}')").correct
    assert verdict(problem, "import numpy\nn=input()\nx = [*map(int, input().split())]\nprint(sum(x))").share == 0
    assert verdict(problem, "input()\nx = [*map(int, input().split())]\nprint(sum(x))\nprint(2.0)").share == 0.5
    assert verdict(problem, "print(6.00000001)\nprint(2.0)").label is Label.WRONG  # integers are exact
    assert cheats_that_pass(problem, "main") == []


def test_its_own_solution_is_in_a_fence(tmp_path: Path) -> None:
    problem = only(tmp_path, STDIN)
    assert str(problem.meta["solution"]).startswith("```python\nn = int")
    assert problem.meta["difficulty"] == "introductory"


def test_a_function_whose_outputs_are_wrapped(tmp_path: Path) -> None:
    problem = only(tmp_path, CALL)
    assert "def two_largest(numbers):" in problem.prompt
    right = "sorted(numbers)[:-3:-1]"
    for program in (f"def two_largest(numbers): return {right}", f"def two_largest(numbers): return tuple({right})",
                    f"class Solution:\n    def two_largest(self, numbers): return {right}",
                    f"def two_largest(numbers: List[int]): return [{right}]"):
        assert verdict(problem, program).correct, program
    assert verdict(problem, "def two_largest(numbers): return sorted(numbers)[-2:]").share == 0.5
    assert verdict(problem, "def largest_two(numbers): return 1").reason.endswith(
        "the program defines no function Solution().two_largest")
    assert cheats_that_pass(problem, "two_largest") == []


def test_a_method_of_the_class_solution(tmp_path: Path) -> None:
    problem = only(tmp_path, SOLUTION)
    counting = ("from __future__ import annotations\nclass Solution:\n    def __init__(self): self.calls = 0\n"
                "    def add(self, a: int, b: int) -> int:\n        self.calls += 1\n"
                "        return a + b + self.calls - 1")
    assert verdict(problem, counting).correct  # a new instance for each test
    assert verdict(problem, "class Solution:\n    def add(self, a, b): return (a + b) * 1.0").correct
    assert verdict(problem, "class Solution:\n    def add(self, a, b): return str(a + b)").label is Label.WRONG
    assert cheats_that_pass(problem, "add") == []


def test_an_unwrapped_list_is_exact(tmp_path: Path) -> None:
    told = {"fn_name": "f", "inputs": [[1], [2]], "outputs": [[1, 2], [3]]}
    problem = only(tmp_path, {**CALL, "input_output": told})  # an object in place of text
    assert verdict(problem, "def f(n): return [1, 2] if n == 1 else [3]").correct
    assert verdict(problem, "def f(n): return 1 if n == 1 else 3").share == 0


def test_keys_that_were_numbers(tmp_path: Path) -> None:
    told = {"fn_name": "f", "inputs": [[{"1": 2}]], "outputs": [[{"2": 1}]]}
    problem = only(tmp_path, {**CALL, "input_output": told})
    assert verdict(problem, "def f(d): return {v: k for k, v in d.items()}").correct
    assert verdict(problem, "def f(d): return {'2': 1}").correct
    assert verdict(problem, "def f(d): return {2: 2}").label is Label.WRONG


def test_rows_of_taco(tmp_path: Path) -> None:
    (problem,) = load(f"{written(tmp_path, TACO)}?format=taco")
    assert (problem.id, problem.family) == ("mine-1", "taco")
    assert problem.answer["each"] == 8.0
    assert verdict(problem, "n = input()\nprint(n)\nprint(n)").correct
    assert verdict(problem, "n = input()\nprint(n, n)").label is Label.WRONG


def test_an_endless_loop_takes_the_seconds_of_one_test(tmp_path: Path) -> None:
    for row, loop in ((STDIN, "while True: pass"), (CALL, "def two_largest(n):\n    while True: pass")):
        problem = only(tmp_path, row)
        problem.answer["each"] = 0.3
        assert problem.answer["seconds"] == 12
        assert verdict(problem, loop).reason.removeprefix("test 1: ") == "no answer within 0.3 s"


@pytest.mark.parametrize(("change", "said"), [
    ({"input_output": ""}, "have no tests"),
    ({"input_output": "{}"}, "have no tests"),
    ({"input_output": {"inputs": [], "outputs": []}}, "have no tests"),
    ({"input_output": None}, "have no tests"),
    ({"input_output": "{'inputs': []}"}, "have no JSON in 'input_output' (first {}: Expecting property name"),
    ({"input_output": {"inputs": ["1"], "outputs": []}}, "have more inputs than outputs, or fewer (first {}: 1 and 0)"),
    ({"input_output": [1]}, "have no lists of inputs and outputs"),
    ({"input_output": {"inputs": "1", "outputs": ["1"]}}, "have no lists of inputs and outputs"),
    ({"input_output": {"fn_name": "f", "inputs": [3], "outputs": [4]}}, "have inputs that are no lists of arguments"),
    ({"input_output": {"fn_name": "f.g", "inputs": [[3]], "outputs": [4]}}, "fn_name that is no name of a function"),
    ({"input_output": {"inputs": [{}], "outputs": ["1"]}}, "have standard input or output that is no text"),
    ({"input_output": '{"inputs": [' + "9" * 5000 + '], "outputs": ["1"]}'}, "an integer of thousands of digits"),
    ({"input_output": "[" * 100_000}, "are nested too deeply"),
    ({"question": ""}, "have no text in 'question'"),
    ({"question": None}, "have no text in 'question'"),
    ({"question": ["a"]}, "have no text in 'question' (first {}: ['a'])"),
    ({"question": "A \ud800."}, "hold half of a surrogate pair"),
    ({"question": "This is an interactive problem. Guess."}, "are interactive"),
    ({"question": "See ![](https://example.org/a.png)."}, "show images"),
    ({"question": "<image>\nCount the cats."}, "show images"),
    ({"picture_num": "2"}, "show images"),
    ({"question": "If there are multiple answers, print any of them."}, "accept several answers"),
    ({"question": "Find x. In case of several solutions you may print any."}, "accept several answers"),
    ({"checker": "int main() {}"}, "need a checker program"),
    ({"language": "C++17"}, "are for another language than Python (first {}: C++17)"),
    ({"starter_code": "class Solution {\npublic:\n    int add(int a, int b) {"}, "start from that is not Python's"),
    ({"starter_code": "var add = function(a, b) {\n\n};"}, "start from that is not Python's"),
    ({"starter_code": "func add(a int, b int) int {\n}"}, "start from that is not Python's"),
    ({"starter_code": "def add(a, b)\n\nend"}, "start from that is not Python's"),
])  # fmt: skip
def test_a_row_that_cannot_be_graded_is_left_out_and_told(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    file = written(tmp_path, STDIN, {**STDIN, "problem_id": 9, **change})
    with pytest.warns(RuntimeWarning, match="1 of 2 rows cannot be graded and are left out: 1 ") as told:
        (problem,) = load(file)
    assert problem.id == "apps-7"
    assert said.format(f"{file}:2") in str(told[0].message)
    with pytest.raises(ProblemSetError, match=r"none of its 1 rows can be graded: 1 .* \(first .*mine\.jsonl:1"):
        load(f"{written(tmp_path, {**STDIN, **change})}?format=apps")


@pytest.mark.parametrize("question", [
    "If there are multiple answers, print the smallest.", "Print any number twice? No: print the sum of any two.",
    "Players play an interactive game. Print the winner.", "Does any of them divide the other?",
])
def test_questions_that_only_sound_so(tmp_path: Path, question: str) -> None:
    only(tmp_path, {**STDIN, "question": question})


@pytest.mark.parametrize("starter", [
    "class Solution:\n    def f(self, x: List[int]) -> int:\n        ", "def f(x):\n\t# your code goes here",
    "def f(x):",
    "class A:\n\n    def __init__(self, n: int):\n        \n\n    def get(self) -> int:\n        \n",
    "# class ListNode:\n#     pass\nclass Solution:\n    def f(self, head: ListNode) -> int:\n        ", "\n",
    "def f(x):\n    return x  # mend it",
])
def test_code_to_start_from(tmp_path: Path, starter: str) -> None:
    only(tmp_path, {**CALL, "starter_code": starter})


def test_a_file_whose_rows_are_of_no_format(tmp_path: Path) -> None:
    with pytest.raises(ProblemSetError, match=r"mine\.jsonl:1 has no column 'prompt'"):
        load(written(tmp_path, {"question": "?", "tests": []}))
    with pytest.raises(ProblemSetError, match=r"mine\.jsonl:2 has no column 'input_output'; it has 'question'"):
        load(written(tmp_path, STDIN, {"question": "?"}))
    with pytest.raises(ProblemSetError, match="there is no format 'app' of code problems; did you mean 'apps'"):
        load(f"{written(tmp_path, STDIN)}?format=app")
    with pytest.raises(ProblemSetError, match="has no column 'question_content'"):
        load(f"{written(tmp_path, STDIN)}?format=livecodebench")


def test_splits_and_draws_as_of_any_file(tmp_path: Path) -> None:
    rows = [{**STDIN, "problem_id": number, "question": f"Sum {number}."} for number in range(40)]
    file = written(tmp_path, *rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, test = load(f"{file}:train"), load(f"{file}?format=apps:test")
    assert len(train) + len(test) == 40
    assert 0 < len(test) < 20
    assert load(file, 5) == load(file, 10)[:5]
