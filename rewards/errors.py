"""The one root of every error that a person caused and can mend."""

from collections.abc import Sequence
from typing import ClassVar


class RetortError(Exception):
    """Something that the person who runs a command can act on. The command line prints `lines` and no traceback.

    A subclass is named for the boundary at which things went wrong (a recipe, an input, a run, a server), and its
    `exit_code` is the command's: 1 where something failed, 2 where the command was asked for what cannot be done,
    128 + n where signal n ended it. Each of `lines` is one complaint with a suggestion.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, lines: str | Sequence[str]) -> None:
        self.lines = [lines] if isinstance(lines, str) else list(lines)
        super().__init__("\n".join(self.lines))
