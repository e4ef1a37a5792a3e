"""APPS (Hendrycks et al. 2021, arXiv 2105.09938) and TACO (Li et al. 2023, arXiv 2312.14852).

    {"question": "..", "input_output": "{\\"inputs\\": [..], \\"outputs\\": [..], \\"fn_name\\": \\"f\\"}",
     "starter_code": "", "solutions": "[\\"..\\"]", "difficulty": "introductory"}

With a `fn_name` the inputs are lists of arguments, and outputs may be wrapped into a list of one; without one they are
standard input and output, as text or as lists of lines.
"""

from typing import Any  # JSON

from eval.problems.code.prompts import PRELUDE, as_script, with_starter
from eval.problems.code.row import (
    EACH,
    MEGABYTES,
    CannotGrade,
    CodeProblem,
    in_fence,
    name,
    parsed,
    require_gradable,
    require_python,
    seconds_in_all,
    text,
)
from eval.row_files import Row

COLUMNS = ("question", "input_output")
TOLERANCE = 1e-5
"""Of decimals that are printed, as the sets' own grader has it (NumPy's `allclose`)."""


def read(row: Row) -> CodeProblem:
    """Raises CannotGrade."""
    question, starter = text(row, "question"), text(row, "starter_code", needed=False)
    require_gradable(row, question, one_answer=True)
    require_python(starter)
    told = parsed(row["input_output"], "input_output")
    if told in (None, {}, []):
        raise CannotGrade("have no tests")
    if not isinstance(told, dict) or not all(isinstance(told.get(key), list) for key in ("inputs", "outputs")):
        raise CannotGrade("have no lists of inputs and outputs", sorted(told) if isinstance(told, dict) else told)
    inputs, outputs, entry = told["inputs"], told["outputs"], told.get("fn_name")
    if not inputs:
        raise CannotGrade("have no tests")
    if len(inputs) != len(outputs):
        raise CannotGrade("have more inputs than outputs, or fewer", f"{len(inputs)} and {len(outputs)}")
    answer: dict[str, object]
    if entry:
        if not isinstance(entry, str) or not entry.isidentifier():
            raise CannotGrade("have a fn_name that is no name of a function", entry)
        tests = _calls(inputs, outputs)
        prompt = with_starter(question, starter, entry)
        answer = {"entry": f"Solution().{entry}", "tests": tests}
    else:
        tests = [{"stdin": _lines(one), "stdout": _lines(other)} for one, other in zip(inputs, outputs, strict=True)]
        prompt = as_script(question)
        answer = {"tests": tests, "tolerance": TOLERANCE}
    each = max(EACH, _seconds(row.get("time_limit")))
    answer |= {"prelude": PRELUDE, "compare": "loose", "each": each, "seconds": seconds_in_all(each, len(tests)),
               "megabytes": MEGABYTES}
    meta = {"solution": solution} if (solution := _solution(row)) else {}
    if isinstance(difficulty := row.get("difficulty"), str):
        meta["difficulty"] = difficulty
    return CodeProblem(name(row, "problem_id", "id"), prompt, answer, question.strip(), meta)


def _calls(inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]]:
    if not all(isinstance(one, list) for one in inputs):
        raise CannotGrade("have inputs that are no lists of arguments", next(o for o in inputs if type(o) is not list))
    # Most rows wrap what is returned into a list of one; where every output is such a list nobody can tell, and
    # either is right.
    wrapped = all(isinstance(one, list) and len(one) == 1 for one in outputs)
    return [_call(arguments, output[0] if wrapped else output, [output] if wrapped else [])
            for arguments, output in zip(inputs, outputs, strict=True)]


def _call(arguments: list[Any], expected: Any, also: list[Any]) -> dict[str, Any]:
    # JSON has made text of the numbers that were keys.
    if arguments and isinstance(arguments[0], dict):
        arguments = [_with_numbers(arguments[0]), *arguments[1:]]
    if isinstance(expected, dict):
        also = [*also, _with_numbers(expected)]
    return {"input": arguments, "expected": expected, "also": also} if also else {
        "input": arguments, "expected": expected}


def _with_numbers(given: dict[str, Any]) -> dict[Any, Any]:
    try:
        return {int(key): value for key, value in given.items()}
    except ValueError:
        return given


def _lines(told: Any) -> str:
    """Standard input or output, which may be a list of lines, or a bare value."""
    if isinstance(told, list):
        return "\n".join(_lines(line) for line in told)
    if told is None or isinstance(told, dict):
        raise CannotGrade("have standard input or output that is no text", repr(told))
    return told if isinstance(told, str) else str(told)


def _seconds(limit: object) -> float:
    """A time limit such as "2.0 seconds"; 0 where there is none."""
    if not isinstance(limit, str):
        return 0.0
    first = limit.split()[0] if limit.split() else ""
    try:
        return min(float(first), 60.0) if "milli" not in limit and float(first) >= 0 else 0.0
    except ValueError:
        return 0.0


def _solution(row: Row) -> str:
    told = row.get("solutions")
    try:
        solutions = parsed(told, "solutions")
    except CannotGrade:
        return ""
    first = solutions[0] if isinstance(solutions, list) and solutions else ""
    return in_fence(first) if isinstance(first, str) and first.strip() else ""
