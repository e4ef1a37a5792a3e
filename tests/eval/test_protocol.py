"""What a report says of the problems of an evaluation, by which its folder is named."""

from dataclasses import replace
from pathlib import Path

from eval.engine.types import Sampling
from eval.protocol import Prompting, Protocol
from rewards.types import Problem

PROTOCOL = Protocol(Prompting(), Sampling(64), 1, 0)


def hash_of(problem: Problem) -> object:
    return PROTOCOL.describe([problem], [])["problems_sha256"]


def test_what_a_verifier_of_the_users_own_reads_names_an_evaluation(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def ok(problem, completion): ...\n")
    own = Problem("a", "?", "5", f"{tmp_path}/mine.py:ok", "f", meta={"ok": True, "words": {"a"}})
    assert hash_of(own) == hash_of(replace(own))
    assert hash_of(own) != hash_of(replace(own, meta={"ok": False, "words": {"a"}}))
    assert hash_of(own) != hash_of(replace(own, family="g"))


def test_what_no_built_in_verifier_reads_changes_no_name() -> None:
    built_in = Problem("a", "?", "5", "math", "f", meta={"solution": "5"})
    assert hash_of(built_in) == hash_of(replace(built_in, meta={}))
    assert hash_of(built_in) != hash_of(replace(built_in, answer="6"))
