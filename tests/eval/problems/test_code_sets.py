"""HumanEval and MBPP: their own solutions pass, and what is none does not."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eval.errors import ProblemSetError
from eval.problems import load
from eval.problems.data_folder import VARIABLE
from rewards.grade import grade
from rewards.types import Completion, Problem

EQUALS_ALL = (
    "    class A:\n        def __eq__(self, other): return True\n        def __ne__(self, other): return False\n"
    "        def __bool__(self): return True\n        def __len__(self): return 0\n        def __iter__(self): return "
    "iter(())\n"
    "        __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __eq__\n        def __hash__(self): return 0\n"
    "        def __getattr__(self, name): return self\n        def __call__(self, *_): return self\n"
    "        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __getitem__ = __abs__ = __call__\n    return A()\n"
)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Problem]]:
    folder = Path(os.environ.get(VARIABLE) or Path(__file__).parents[4] / "shared" / "data")
    monkeypatch.setenv(VARIABLE, str(folder))

    def read(reference: str) -> list[Problem]:
        file = f"{reference.partition(':')[0]}.jsonl"
        if not (folder / file).is_file():
            pytest.skip(f"no {file} in {folder}; set {VARIABLE} to the folder that has it")
        return load(reference)

    return read


def not_correct(problems: list[Problem], completion: Callable[[Problem], str]) -> dict[str, str]:
    verdicts = {problem.id: grade(problem, Completion(completion(problem))) for problem in problems}
    return {name: verdict.reason for name, verdict in verdicts.items() if not verdict.correct}


def solution(problem: Problem) -> str:
    return str(problem.meta["solution"])


def test_humaneval_solutions(real: Callable[[str], list[Problem]]) -> None:
    problems = real("humaneval:test")
    assert len(problems) == 164
    assert not_correct(problems, solution) == {}


@pytest.mark.faults
def test_humaneval_solutions_in_a_fence(real: Callable[[str], list[Problem]]) -> None:
    whole = lambda problem: f"<think>So.</think>\n```python\n{problem.prompt}{solution(problem)}\n```"  # noqa: E731
    assert not_correct(real("humaneval:test"), whole) == {}


@pytest.mark.parametrize("body", ["    pass\n", "    return None\n", EQUALS_ALL], ids=["pass", "none", "equals"])
def test_humaneval_without_a_solution(real: Callable[[str], list[Problem]], body: str) -> None:
    assert len(not_correct(real("humaneval:test"), lambda _: body)) == 164


def test_mbpp_solutions_of_the_prompt_split(real: Callable[[str], list[Problem]]) -> None:
    problems = real("mbpp:prompt")
    assert [problem.id for problem in problems] == [f"mbpp-{number}" for number in range(1, 11)]
    assert not_correct(problems, solution) == {}


@pytest.mark.faults
@pytest.mark.parametrize(("split", "size"), [("train", 374), ("validation", 90), ("test", 500)])
def test_mbpp_solutions(real: Callable[[str], list[Problem]], split: str, size: int) -> None:
    problems = real(f"mbpp:{split}")
    assert len(problems) == size
    assert not_correct(problems, solution) == {}


ROW = {
    "task_id": 601, "text": "Length of a chain of pairs.",
    "code": "import sys\nclass Pair:\n    pass\ndef sum(p): return 1", "test_list": ["assert sum(p) == sys.maxsize"],
    "test_setup_code": "p = Pair()", "challenge_test_list": ["assert sum(1) == 1"],
}  # fmt: skip


def test_mbpp_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / "mbpp.jsonl").write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, "task_id": 11}) + "\n")
    (problem,) = load("mbpp:train")
    assert problem.answer["names"] == ["Pair", "sum"]
    assert problem.answer["setup"] == "import sys\np = Pair()"
    assert problem.answer["asserts"] == ["assert sum(p) == sys.maxsize", "assert sum(1) == 1"]
    assert "sys.maxsize" in problem.prompt
    assert "sum(1)" not in problem.prompt  # the challenge stays hidden
    assert [one.id for one in load("mbpp:test")] == ["mbpp-11"]
    with pytest.raises(ProblemSetError, match="has no split 'dev'"):
        load("mbpp:dev")
