"""LeetCodeDataset (Xia et al. 2025, arXiv 2504.14655), and rows like it.

    {"task_id": "two-sum", "prompt": "from typing import *\\n..", "entry_point": "Solution().twoSum",
     "test": "def check(candidate):\\n    assert candidate(nums = [2, 7], target = 9) == [0, 1]\\n",
     "completion": "class Solution:\\n ..", "query": "..", "starter_code": ".."}

`prompt` holds imports, and the nodes of lists and trees with what makes and compares them. It runs before the program
and before the tests, and nodes go from one to the other by what they hold, so that the tests' own code compares them.
"""

import ast
import re

from eval.problems.code.prompts import ENDING, with_starter
from eval.problems.code.row import (
    EACH,
    MEGABYTES,
    CannotGrade,
    CodeProblem,
    in_fence,
    module,
    name,
    require_check,
    require_gradable,
    require_python,
    text,
)
from eval.row_files import Row

COLUMNS = ("entry_point", "test", "completion")
SECONDS = 60.0
"""For all calls of a check, of which there can be a hundred."""

_ENTRY = re.compile(r"Solution\(\)\.[^\W\d]\w*")


def read(row: Row) -> CodeProblem:
    """Raises CannotGrade."""
    told = row["meta"] if isinstance(row.get("meta"), dict) else {}
    entry, test, prelude = text(row, "entry_point"), text(row, "test"), text(row, "prompt", needed=False)
    if not _ENTRY.fullmatch(entry):
        raise CannotGrade("have an entry_point that is no method of Solution()", entry)
    require_check(f"{prelude}\n{test}")
    question = text({**told, **row}, "problem_description", needed=False) or text(
        {**told, **row}, "question_title", needed=False)
    starter = text({"lang_code": "", **told, **row}, "starter_code", needed=False) or str(told.get("lang_code", ""))
    query = text(row, "query", needed=False) or str(told.get("query", ""))
    require_gradable(row, question or query)
    require_python(starter)
    if not (query or question):
        raise CannotGrade("have no text in 'query'")
    prompt = f"{query.strip()}\n\n{ENDING}\n" if query else with_starter(question, starter, entry)
    before = module(prelude, "prompts to run before the program")
    classes = [node.name for node in before.body if isinstance(node, ast.ClassDef)]
    answer = {"entry": entry, "check": test, "prelude": prelude, "classes": classes, "seconds": SECONDS,
              "each": EACH, "megabytes": MEGABYTES}
    meta = {"solution": in_fence(solution)} if (solution := text(row, "completion", needed=False)) else {}
    if isinstance(difficulty := row.get("difficulty", told.get("difficulty")), str):
        meta["difficulty"] = difficulty
    return CodeProblem(name(row, "task_id", "question_id"), prompt, answer, (question or query).strip(), meta)
