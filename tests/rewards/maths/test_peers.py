"""Pairs of the public test suites of other graders, judged by hand.

A row of peers.jsonl has the gold, the answer, what the peer's suite expects (`theirs`), what is right (`ours`), `why`
where the two differ, and `miss` where the answer is right and not recognized here. Long texts are cut to the end that
states the answer. Answers are read leniently, as the suites mean them.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from rewards.flexible import flexible
from rewards.grade import grade
from rewards.types import Completion, Label, Problem

LINES = (Path(__file__).parent / "peers.jsonl").read_text(encoding="utf-8").splitlines()
ROWS: list[dict[str, Any]] = [json.loads(line) for line in LINES]
AGREE = {"Math-Verify": (219, 242), "lighteval": (168, 185), "NeMo-Skills": (64, 69), "Qwen2.5-Math": (27, 30)}
"""Pairs on which a peer's suite and this grader agree, of how many: what rewards/README.md says."""


@pytest.fixture(scope="module")
def found() -> list[tuple[bool, bool]]:
    """(correct strictly, correct leniently) of each row."""
    verdicts = []
    for row in ROWS:
        problem, completion = Problem("", "", row["gold"], "math", ""), Completion(row["answer"])
        verdict = grade(problem, completion)
        verdicts.append((verdict.correct, flexible(problem, completion, verdict) is Label.CORRECT))
    return verdicts


def test_nothing_wrong_is_taken_for_right(found: list[tuple[bool, bool]]) -> None:
    assert [row for row, verdicts in zip(ROWS, found, strict=True) if any(verdicts) and not row["ours"]] == []


def test_what_is_right_is_recognized_but_for_the_known_misses(found: list[tuple[bool, bool]]) -> None:
    missed = [row for row, (_, lenient) in zip(ROWS, found, strict=True) if row["ours"] and not lenient]
    assert missed == [row for row in ROWS if "miss" in row]


def test_what_differs_from_a_peer_says_why() -> None:
    assert [row for row in ROWS if (row["ours"] != row["theirs"]) != ("why" in row)] == []


def test_the_agreement_with_each_peer(found: list[tuple[bool, bool]]) -> None:
    counted = {peer: [lenient == row["theirs"] for row, (_, lenient) in zip(ROWS, found, strict=True)
                      if peer in row["peers"]] for peer in AGREE}  # fmt: skip
    assert {peer: (sum(same), len(same)) for peer, same in counted.items()} == AGREE
