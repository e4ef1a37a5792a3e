"""Errors of the pipeline, named for the boundary at which something went wrong; the root is
`rewards.errors.RetortError`."""

import signal
from typing import ClassVar

from rewards.errors import RetortError


class RecipeError(RetortError):
    """A recipe cannot be run: "file:line: message; did you mean ..?" for everything that is wrong with it."""

    exit_code: ClassVar[int] = 2


class CommandError(RetortError):
    """A command was asked for what cannot be done: a wrong argument, a name that leads nowhere."""

    exit_code: ClassVar[int] = 2


class RunError(RetortError):
    """A run cannot be worked on, or what it made cannot be read."""


class StageError(RetortError):
    """A stage cannot go on for a reason that its user can act on; shown as one line, without a traceback."""


class StageStopped(RetortError):
    """A stage was asked to stop before its end, and has left a checkpoint to go on from."""

    exit_code: ClassVar[int] = 128 + signal.SIGTERM


Stopped = StageStopped  # as plug-ins know it
