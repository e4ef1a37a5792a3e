"""Rows of LiveCodeBench, their packed tests, and what nobody should unpickle."""

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from eval.errors import ProblemSetError
from eval.problems import load
from eval.problems.code.livecodebench import unpacked
from rewards.types import Label
from tests.eval.problems.code.rows import cheats_that_pass, only, verdict, written


def packed(cases: object, protocol: int = pickle.DEFAULT_PROTOCOL) -> str:
    """As the set's own files have it."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases), protocol))).decode()


def case(given: str, output: str, kind: str = "stdin") -> dict[str, str]:
    return {"input": given, "output": output, "testtype": kind}


STDIN: dict[str, Any] = {
    "question_title": "Halves", "question_content": "Print half of each number.\n\nInput\n\n..", "platform": "atcoder",
    "question_id": "abc301_a", "contest_id": "abc301", "contest_date": "2023-05-13T00:00:00", "starter_code": "",
    "difficulty": "easy", "public_test_cases": json.dumps([case("1 2\n", "0.5 1\n"), case("4", "2")]),
    "private_test_cases": packed([case("3 3", "1.5 1.5")]), "metadata": "{}",
}
FUNCTIONAL: dict[str, Any] = {
    **STDIN, "question_id": "2730", "platform": "leetcode", "question_content": "Count the pairs that sum to k.",
    "starter_code": "class Solution:\n    def pairs(self, nums: List[int], k: int) -> int:\n        ",
    "public_test_cases": json.dumps([case("[1, 2, 3]\n4", "1", "functional")]),
    "private_test_cases": json.dumps([case("[1, 1, 1]\n2", "3", "functional"), case("[]\n0", "0", "functional")]),
    "metadata": json.dumps({"func_name": "pairs"}),
}
PAIRS = "class Solution:\n    def pairs(self, nums: List[int], k: int) -> int:\n" \
        "        return sum(a + b == k for a, b in combinations(nums, 2))"


def test_standard_input_with_packed_tests(tmp_path: Path) -> None:
    problem = only(tmp_path, STDIN)
    assert (problem.id, len(problem.answer["tests"])) == ("livecodebench-abc301_a", 3)
    assert problem.meta == {"difficulty": "easy", "platform": "atcoder", "contest_date": "2023-05-13T00:00:00"}
    assert verdict(problem, "print(*(int(x) / 2 for x in input().split()))").correct  # 1.0 is 1
    assert verdict(problem, "for x in input().split(): print(int(x) / 2)").share == pytest.approx(1 / 3)
    assert verdict(problem, "print(*(int(x) // 2 for x in input().split()))").share == pytest.approx(1 / 3)
    assert verdict(problem, "print(*(int(x) / 2 + 1e-9 for x in input().split()))").share == 0  # decimals are exact
    assert cheats_that_pass(problem, "main") == []


def test_a_function(tmp_path: Path) -> None:
    problem = only(tmp_path, FUNCTIONAL)
    assert "class Solution" in problem.prompt
    assert problem.answer["tests"][0] == {"input": [[1, 2, 3], 4], "expected": 1}
    assert verdict(problem, PAIRS).correct
    assert verdict(problem, PAIRS.replace("combinations", "permutations")).share == pytest.approx(1 / 3)
    assert cheats_that_pass(problem, "pairs") == []


def test_a_parquet_file(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist([STDIN, {**STDIN, "question_id": "b", "private_test_cases": None}]),
                        tmp_path / "lcb.parquet")
    first, second = load(str(tmp_path / "lcb.parquet"))
    assert len(second.answer["tests"]) == 2
    assert first.prompt == second.prompt


@given(st.text(), st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_whatever_was_packed_is_unpacked(text: str, protocol: int) -> None:
    cases = [case(text, text)]
    assert json.loads(unpacked(packed(cases, protocol))) == cases


class Run:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('a pickle was run')",)


def raw(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(("private", "said"), [
    (raw(pickle.dumps(Run())), "in a pickle that is more than a text, which is not loaded (first {}: "),
    (raw(pickle.dumps([json.dumps([])])), "in a pickle that is more than a text"),
    (raw(pickle.dumps(("a", "b"))), "in a pickle that is more than a text"),
    (raw(pickle.dumps(json.dumps([]))[:-3]), "in a pickle that cannot be read"),
    (raw(b"junk"), "in a pickle that cannot be read"),
    ("not base64!", "neither JSON nor packed"),
    (base64.b64encode(b"not zlib").decode(), "neither JSON nor packed"),
    (raw(pickle.dumps("[]"))[:12], "or are cut off"),
    (packed({"input": 1}), "have no list of inputs and outputs in 'private_test_cases'"),
    (packed([{"input": "1"}]), "have no list of inputs and outputs"),
    ("[{", "have no JSON in 'private_test_cases'"),
    (packed([case("1", "2", "functional")]), "have tests of other types than stdin or functional"),
    (json.dumps([case("1", "2", "interactive")]), "have tests of other types than stdin or functional"),
])
def test_tests_that_cannot_be_unpacked(tmp_path: Path, private: str, said: str) -> None:
    file = written(tmp_path, STDIN, {**STDIN, "private_test_cases": private})
    with pytest.warns(RuntimeWarning, match="1 of 2 rows") as told:
        load(file)
    assert said.format(f"{file}:2") in str(told[0].message)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.problems.code.livecodebench.MOST_UNPACKED", 1 << 20)
    with pytest.raises(ProblemSetError, match="unpack to more than 1,048,576 bytes"):
        load(written(tmp_path, {**STDIN, "private_test_cases": raw(bytes(1 << 24))}))


@pytest.mark.parametrize(("change", "said"), [
    ({"metadata": "{}"}, "have functional tests and no func_name"),
    ({"metadata": None}, "have functional tests and no func_name"),
    ({"public_test_cases": json.dumps([case("{1", "2", "functional")])}, "have no JSON in 'input'"),
    ({"public_test_cases": json.dumps([case("1", "", "functional")])}, "have a functional test without an output"),
    ({"public_test_cases": "[]", "private_test_cases": "[]"}, "have no tests"),
    ({"question_content": "This is an interactive task."}, "are interactive"),
])
def test_functions_that_cannot_be_graded(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ProblemSetError, match=said):
        load(written(tmp_path, {**FUNCTIONAL, **change}))


def test_a_program_that_ends_in_the_middle_keeps_its_share(tmp_path: Path) -> None:
    problem = only(tmp_path, FUNCTIONAL)
    program = "import os\ncalls = []\ndef pairs(nums, k):\n    calls.append(1)\n    if len(calls) > 2: os._exit(0)\n" \
              "    return 1 if nums == [1, 2, 3] else 3"
    one = verdict(problem, program)
    assert (one.label, one.share) == (Label.WRONG, pytest.approx(2 / 3))
