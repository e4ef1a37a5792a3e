"""Errors of evaluations, named for the boundary at which something went wrong; the root is
`rewards.errors.RetortError`."""

from typing import ClassVar

from rewards.errors import RetortError


class ProblemSetError(RetortError, ValueError):
    """A problem set cannot be had: no such split, no such file, a broken row, no way to the hub. One line."""

    exit_code: ClassVar[int] = 2


class PromptError(RetortError):
    """A problem cannot be put to a model: its chat template fails. One line."""


class ComparisonError(RetortError, ValueError):
    """Two models cannot be compared: they were asked too few problems in common. One line."""

    exit_code: ClassVar[int] = 2


class ServerError(RetortError):
    """The server refuses what it is asked, or the URL is none. One line; trying again would not help."""

    exit_code: ClassVar[int] = 2


class Overlong(ServerError):
    """The server refuses one question as too long for the model's context, which says nothing of the others."""


class Unanswered(RetortError):
    """Some rollouts have no answer; the message says what came instead of the last one. Those that came are kept."""


class FamilyError(RetortError, ValueError):
    """Nothing here draws from a model of this family. One line."""

    exit_code: ClassVar[int] = 2


class NumbersError(RetortError):
    """A model computes what are no numbers, so that nothing can be drawn from it. One line."""


class ToolError(RetortError, ValueError):
    """A tool that a model is to have cannot be used: it is no function of the right form, or lacks what it needs. One
    line."""

    exit_code: ClassVar[int] = 2
