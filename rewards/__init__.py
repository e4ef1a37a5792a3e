"""What is right, and what it is worth: problems, verdicts, rules and the rubric. Imports nothing heavy."""

from rewards.grade import verifier
from rewards.rules import rule
from rewards.types import Completion, Label, Problem, Verdict

__all__ = ["Completion", "Label", "Problem", "Verdict", "rule", "verifier"]
