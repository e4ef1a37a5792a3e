"""Whatever stands in a column, a row is a problem or left out with its reason, and a problem can be graded."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.problems.code import FORMATS
from eval.problems.code.row import CannotGrade
from rewards.grade import grade
from rewards.types import Completion, Label, Problem
from tests.eval.problems.code import (
    test_contests,
    test_evalplus,
    test_kodcode,
    test_leetcode,
    test_livecodebench,
    test_renamed,
)

ROWS = {
    "apps": test_contests.CALL, "taco": test_contests.TACO, "livecodebench": test_livecodebench.FUNCTIONAL,
    "leetcode": test_leetcode.REVERSE, "humanevalplus": test_evalplus.INPUTS, "humaneval": test_evalplus.CHECK,
    "code_contests": test_renamed.CONTEST, "deepcoder": test_renamed.CASES,
    "mbppplus": test_evalplus.MBPP, "kodcode": test_kodcode.ROW,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([
        "[]", "{}", "null", "[[1], [2]]", '{"inputs": [[1]], "outputs": [1], "fn_name": "f"}', "def f(x): return x",
        "class Solution:\n    pass", "import os", '[{"input": "1", "output": "2", "testtype": "functional"}]', "\ud800",
        "assert f(1) == 1", "def check(candidate):\n    assert candidate(1) == 1",
        "def test_a():\n    assert mean([1])",
    ]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["inputs", "outputs", "fn_name", "input", "output", "testtype", "func_name", "query"]), inner),
    max_leaves=8,
)


def test_every_format_has_a_row() -> None:
    assert set(ROWS) == set(FORMATS)


@pytest.mark.parametrize("form", ROWS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_row_is_a_problem_or_left_out(form: str, data: st.DataObject) -> None:
    row: dict[str, Any] = dict(ROWS[form])
    for column in data.draw(st.lists(st.sampled_from(sorted(row)), min_size=1, max_size=2)):
        row[column] = data.draw(JSON)
    try:
        one = FORMATS[form].read(row)
    except CannotGrade as left_out:
        said = str(left_out)
    else:
        said = ""
    assert "\n" not in said
    if said:
        return
    assert one.prompt.strip()
    answer = {**one.answer, "seconds": 0.5}
    verdict = grade(Problem("p", one.prompt, answer, "code", ""), Completion("def nothing(): pass"))
    assert verdict.label in (Label.WRONG, Label.UNGRADABLE)
    assert "the verifier failed" not in verdict.reason
