"""Sets that have in other columns what APPS or LiveCodeBench have.

CodeContests (Li et al. 2022, arXiv 2203.07814):
    {"name": "1_A. ..", "description": "..", "public_tests": {"input": [".."], "output": [".."]},
     "private_tests": .., "generated_tests": .., "time_limit": {"seconds": 2, "nanos": 0},
     "solutions": {"language": [3], "solution": [".."]}}
DeepCoder's training set, with the tests of either:
    {"problem": "..", "tests": "{\\"inputs\\": [..], \\"outputs\\": [..]}", "starter_code": ""}
    {"problem": "..", "tests": "[{\\"input\\": \\"..\\", \\"output\\": \\"..\\", \\"testtype\\": \\"stdin\\"}]"}
    {"problem": "..", "tests": "[{\\"input\\": [1], \\"output\\": 2, \\"fn_name\\": \\"f\\"}]"}
"""

from dataclasses import replace
from typing import Any  # JSON

from eval.problems.code import contests, livecodebench
from eval.problems.code.row import CannotGrade, CodeProblem, name, parsed
from eval.row_files import Row

CODE_CONTESTS = ("description", "public_tests")
DEEPCODER = ("problem", "tests")

_PYTHON_3 = 3
"""Among CodeContests' numbers of languages."""


def read_code_contests(row: Row) -> CodeProblem:
    """Raises CannotGrade."""
    if row.get("input_file") or row.get("output_file"):
        raise CannotGrade("read or write files")
    given: dict[str, list[Any]] = {"inputs": [], "outputs": []}
    for column in ("public_tests", "private_tests", "generated_tests"):
        tests = parsed(row.get(column), column) or {}
        for ours, theirs in (("inputs", "input"), ("outputs", "output")):
            more = (tests.get(theirs) or []) if isinstance(tests, dict) else None
            if not isinstance(more, list):
                raise CannotGrade(f"have no lists of inputs and outputs in {column!r}")
            given[ours] += more
    limit = row.get("time_limit")
    seconds = limit.get("seconds") if isinstance(limit, dict) else None
    told = parsed(row.get("solutions"), "solutions")
    pairs = [told.get(key) for key in ("language", "solution")] if isinstance(told, dict) else []
    solutions = [code for language, code in zip(*pairs, strict=False) if language == _PYTHON_3] if pairs and all(
        isinstance(one, list) for one in pairs) else []
    one = contests.read({"question": row["description"], "input_output": given, "solutions": solutions[:1],
                         "time_limit": f"{seconds} seconds" if isinstance(seconds, int) else None})
    return replace(one, name=name(row, "name"))


def read_deepcoder(row: Row) -> CodeProblem:
    """Raises CannotGrade."""
    tests = parsed(row["tests"], "tests")
    shared = {key: row.get(key) for key in ("starter_code", "solutions", "language")}
    if not isinstance(tests, list):
        return contests.read({**shared, "question": row["problem"], "input_output": tests})
    metadata = parsed(row.get("metadata"), "metadata")
    cases = [case for case in tests if isinstance(case, dict)]
    if any(case.get("fn_name") for case in cases):
        functions = {str(case.get("fn_name")) for case in cases}
        if len(functions) > 1:
            raise CannotGrade("have tests of several functions", ", ".join(sorted(functions)))
        calls = {"inputs": [case.get("input") for case in cases], "outputs": [case.get("output") for case in cases],
                 "fn_name": functions.pop()}
        return contests.read({**shared, "question": row["problem"], "input_output": calls})
    if others := {str(case["type"]) for case in cases if case.get("type")} - {"stdin", "stdin_stdout"}:
        raise CannotGrade("have tests of other types than stdin or functional", ", ".join(sorted(others)))
    # Each test may bring the name of the function, too.
    first = tests[0].get("metadata") if tests and isinstance(tests[0], dict) else None
    named = next((one for one in (metadata, first) if isinstance(one, dict) and one.get("func_name")), {})
    one = livecodebench.read({**shared, "question_content": row["problem"], "public_test_cases": tests,
                              "metadata": named})
    return replace(one, name=name(row, "question_id", "id"))
