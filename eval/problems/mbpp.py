"""MBPP: 974 small Python problems (Austin et al. 2021, arXiv 2108.07732), in the full version with its published
splits.

The prompt shows the asserts, as published, since they alone tell the function's name; a program can therefore answer
exactly those by heart. Where a problem has challenge tests, which no prompt shows, they are graded too.
"""

import ast
from typing import Any  # what a column holds only its data set knows

from eval.errors import ProblemSetError
from eval.problems.data_folder import Source
from eval.problems.draw import draw
from eval.row_files.types import shown
from rewards.types import Problem

COLUMNS = ("task_id", "text", "code", "test_list", "test_setup_code", "challenge_test_list")
SPLITS = {"prompt": range(1, 11), "test": range(11, 511), "validation": range(511, 601), "train": range(601, 975)}
SOURCE = Source("mbpp", "google-research-datasets/mbpp", tuple(SPLITS), COLUMNS, config="full", whole=True,
                text=("text", "code", "test_setup_code"))
SECONDS = 10.0
SLOW = {123: 60.0}
"""Seconds where the reference solution itself takes more: about 6 s of a 2.5 GHz core for problem 123."""


def mbpp(split: str, n: int | None, seed: int) -> list[Problem]:
    """MBPP: small Python functions from a sentence and three asserts, graded by those and the challenge asserts."""
    rows = [row for row in SOURCE.rows(split) if row["task_id"] in SPLITS[split]]
    return draw([_problem(row) for row in rows], n, seed)


def _problem(row: dict[str, Any]) -> Problem:
    number = row["task_id"]
    for column in ("test_list", "challenge_test_list"):
        if not isinstance(row[column], list) or not all(isinstance(one, str) for one in row[column]):
            raise ProblemSetError(f"mbpp row {number}: {column!r} is a list of text, not {shown(row[column])}")
    asserts = [*row["test_list"], *row["challenge_test_list"]]
    try:
        names, modules = _provided("\n".join([row["test_setup_code"], *asserts]), row["code"])
    except SyntaxError as error:
        raise ProblemSetError(f"mbpp row {number}: {error.msg}") from error
    setup = "".join(f"import {module}\n" for module in modules) + row["test_setup_code"]
    told = "\n".join(row["test_list"])
    return Problem(
        id=f"mbpp-{number}",
        prompt=f"{row['text'].strip()} Your code should pass these tests:\n\n{told}\n",
        answer={"names": names, "setup": setup, "asserts": asserts, "seconds": SLOW.get(number, SECONDS)},
        verifier="code",
        family="mbpp",
        skeleton=row["text"].strip(),
        meta={"solution": row["code"]},
    )


def _provided(tests: str, solution: str) -> tuple[list[str], list[str]]:
    """(names that the tests use and the reference solution defines, modules that they use because it imports them)."""
    used = {node.id for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.Name)}
    tree = ast.parse(solution)
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {
        target.id
        for node in tree.body if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
    }
    imported = {
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names if not alias.asname
    }
    return sorted(used & defined), sorted(used & imported - defined)
