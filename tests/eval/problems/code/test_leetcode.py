"""Rows of LeetCodeDataset: methods of Solution, keyword arguments, nodes of lists."""

from pathlib import Path
from typing import Any

import pytest

from eval.errors import ProblemSetError
from eval.problems import load
from rewards.types import Label
from tests.eval.problems.code.rows import cheats_that_pass, only, verdict, written

PRELUDE = """from typing import *
from collections import *
inf = float('inf')

class ListNode:
    def __init__(self, val=0, next=None):
        self.val = val
        self.next = next
    def same(self, other):
        return other is not None and self.val == other.val

def list_node(values):
    head = ListNode()
    p = head
    for value in values:
        p.next = ListNode(value)
        p = p.next
    return head.next

def is_same_list(a, b):
    while a and b and a.val == b.val:
        a, b = a.next, b.next
    return a is None and b is None
"""
SUM: dict[str, Any] = {
    "task_id": "two-sum", "question_id": 1, "difficulty": "Easy", "tags": ["Array"],
    "problem_description": "Find two.",
    "starter_code": "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> List[int]:\n        ",
    "estimated_date": "2015-08-07", "prompt": PRELUDE, "entry_point": "Solution().twoSum",
    "completion": "class Solution:\n    def twoSum(self, nums, target):\n        at = {}\n        for i, x in "
                  "enumerate(nums):\n            if target - x in at: return [at[target - x], i]\n"
                  "            at[x] = i\n",
    "test": "def check(candidate):\n    assert candidate(nums = [2, 7, 11], target = 9) == [0, 1]\n"
            "    assert candidate(nums = [3, 3], target = 6) == [0, 1]\n",
    "input_output": [{"input": "nums = [2,7,11], target = 9", "output": "[0, 1]"}],
    "query": "Find two numbers.\n### Format: ..\n```python\nclass Solution:\n    def twoSum(..\n```", "response": "..",
}  # fmt: skip
REVERSE: dict[str, Any] = {
    **SUM, "task_id": "reverse-list", "query": "Reverse a list.", "entry_point": "Solution().reverse",
    "starter_code": "# class ListNode:\nclass Solution:\n    def reverse(self, head: Optional[ListNode]):\n        ",
    "completion": "class Solution:\n    def reverse(self, head):\n        last = None\n        while head:\n"
                  "            head.next, last, head = last, head, head.next\n        return last",
    "test": "def check(candidate):\n    assert is_same_list(candidate(head = list_node([1, 2, 3])), list_node([3, 2, "
            "1]))\n    assert is_same_list(candidate(head = list_node(range(3000))), list_node(range(2999, -1, -1)))\n"
            "    assert candidate(head = list_node([4])).same(list_node([4]))\n    assert candidate(head = None) is "
            "None\n",
}  # fmt: skip


def test_a_method_with_keywords(tmp_path: Path) -> None:
    problem = only(tmp_path, SUM)
    assert (problem.id, problem.family, problem.meta["difficulty"]) == ("leetcode-two-sum", "leetcode", "Easy")
    assert problem.prompt.startswith("Find two numbers.")
    assert verdict(problem, SUM["completion"]).correct
    assert verdict(problem, SUM["completion"].replace("i]", "i + 1]")).label is Label.WRONG
    assert verdict(problem, "from __future__ import annotations\ndef twoSum(nums: List[int], target): return [0, 1]"
                   ).correct  # what it shows can be answered by heart
    assert cheats_that_pass(problem, "twoSum") == []


def test_nodes_go_over_by_what_they_hold(tmp_path: Path) -> None:
    problem = only(tmp_path, REVERSE)
    assert problem.answer["classes"] == ["ListNode"]
    assert verdict(problem, REVERSE["completion"]).correct
    wrong = REVERSE["completion"].replace("return last", "return last and last.next")
    assert verdict(problem, wrong).label is Label.WRONG
    assert cheats_that_pass(problem, "reverse") == []


@pytest.mark.parametrize("program", [
    "is_same_list = lambda *a: True\ndef reverse(head): return head",
    "class ListNode:\n    def __init__(self, *a): self.val = self.next = None\n    __eq__ = same = lambda *a: True\n"
    "def reverse(head): return head and ListNode()",
    "def reverse(head):\n    if head is None: return None\n    n = ListNode(3)\n    n.__dict__.update(same=bool)\n"
    "    return n",
    "def reverse(head):\n    if head is None: return None\n    n = ListNode(3)\n    n.__dict__['__class__'] = bool\n"
    "    return n",
    "class Any(int):\n    __eq__ = lambda *a: True\n    __hash__ = int.__hash__\n"
    "def reverse(head):\n    n = head\n    while n:\n        n.val = Any()\n        n = n.next\n    return head",
    "def reverse(head):\n    if head: head.next = head\n    return head",
    "def reverse(head):\n    if head: head.next = object()\n    return head",
])
def test_no_node_lies(tmp_path: Path, program: str) -> None:
    problem = only(tmp_path, REVERSE)
    problem.answer["seconds"] = 2.0
    assert verdict(problem, program).label is Label.WRONG


def test_a_class_of_the_programs_own_stays_there(tmp_path: Path) -> None:
    problem = only(tmp_path, {**SUM, "test": "def check(candidate):\n    a = candidate(1, 2)\n    assert a.n == 1\n"
                              "    assert a.plus(2) == 3 and len(a) == 7 and a[5] == 6 and str(a) == 'A'\n"
                              "    a[1] = 4\n    assert [*a] == [1, 4] and a.on(5)(6) == 11\n"})
    own = ("class A:\n    def __init__(self, n): self.n, self.d = n, {}\n    def plus(self, k): return self.n + k\n"
           "    def __len__(self): return 7\n    def __getitem__(self, k): return k + 1\n    def __str__(self): return "
           "'A'\n    def __setitem__(self, k, v): self.d[k] = v\n    def __iter__(self): yield from [self.n, "
           "self.d[1]]\n    def on(self, k): return lambda x: x + k\n")
    assert verdict(problem, f"{own}def twoSum(a, b): return A(a)").correct
    assert verdict(problem, f"{own}def twoSum(a, b): return A(b)").label is Label.WRONG


@pytest.mark.parametrize(("change", "said"), [
    ({"entry_point": "twoSum"}, r"no method of Solution\(\)"),
    ({"entry_point": "__import__('os').system"}, r"no method of Solution\(\)"),
    ({"test": "assert True"}, r"have no check\(candidate\)"),
    ({"test": "def check(candidate): pass"}, "never call the candidate"),
    ({"test": "def check(candidate"}, "have tests that are no Python"),
    ({"test": ""}, "have no text in 'test'"),
    ({"prompt": "from sortedcontainers import SortedList"}, "import what cannot be imported .*: sortedcontainers"),
    ({"starter_code": "class Solution {\n    public int[] twoSum(int[] nums) {"}, "start from that is not Python's"),
    ({"query": "", "problem_description": ""}, "have no text in 'query'"),
])
def test_rows_that_cannot_be_graded(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ProblemSetError, match=said):
        load(written(tmp_path, {**SUM, **change}))


def test_an_older_row_has_its_texts_in_meta(tmp_path: Path) -> None:
    meta = {"difficulty": "Easy", "lang_code": SUM["starter_code"], "question_title": "Find two.",
            "query": "Find them."}
    row = {key: SUM[key] for key in ("task_id", "prompt", "entry_point", "test", "completion")} | {"meta": meta}
    problem = only(tmp_path, row)
    assert problem.prompt.startswith("Find them.")
    assert problem.skeleton == "Find two."
    assert verdict(problem, SUM["completion"]).correct


def test_a_loop_takes_the_seconds_of_one_call(tmp_path: Path) -> None:
    problem = only(tmp_path, SUM)
    problem.answer["each"] = 0.3
    assert verdict(problem, "def twoSum(nums, target):\n    while True: pass").reason == "no answer within 0.3 s"
