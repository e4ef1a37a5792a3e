"""What rows of `sample` say of the problem that they answer, by which the traces of several teachers are told apart."""

import hashlib

from pipeline.disk.durable import JsonObject
from rewards.types import Problem

PROBLEM, ASKED, RATE = "problem", "asked", "pass_rate"
"""The columns: the problem's id, its question, and which share of its rollouts was right."""


def verdict(problem: Problem, right: int, rollouts: int) -> JsonObject:
    """The columns of a row that answers `problem`, `right` of whose `rollouts` were right."""
    return {PROBLEM: problem.id, ASKED: asked(problem), "family": problem.family, RATE: right / rollouts}


def asked(problem: Problem) -> str:
    """64 bits of a SHA-256 of a problem's question, whatever instructions it is put with. Ids say less: files of one
    name give other questions the same ids, and a question's id depends on what sets stand beside its own."""
    return hashlib.sha256(problem.prompt.encode()).hexdigest()[:16]
