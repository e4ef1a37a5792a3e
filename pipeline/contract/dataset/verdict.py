"""What rows of `sample` say of the problem that they answer, by which the traces of several teachers are told apart."""

import hashlib

from pipeline.disk.durable import JsonObject
from rewards.types import Problem

PROBLEM, ASKED, RATE = "problem", "asked", "pass_rate"
"""The columns: the problem's id, what it asks, and which share of its rollouts was right."""


def verdict(problem: Problem, right: int, rollouts: int) -> JsonObject:
    """The columns of a row that answers `problem`, `right` of whose `rollouts` were right."""
    return {PROBLEM: problem.id, ASKED: asked(problem), "family": problem.family, RATE: right / rollouts}


def asked(problem: Problem) -> str:
    """64 bits of a SHA-256 of what a problem asks, whatever words and instructions it is put in: files of one name give
    other problems the same ids."""
    return hashlib.sha256((problem.skeleton or problem.prompt).encode()).hexdigest()[:16]
