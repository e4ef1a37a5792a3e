"""Errors that a person caused and can mend. The command line prints their lines and no traceback."""

from collections.abc import Sequence


class UserError(Exception):
    """Each of `lines` is one complaint with a suggestion; `exit_code` is the command's."""

    exit_code = 1

    def __init__(self, lines: str | Sequence[str]) -> None:
        self.lines = [lines] if isinstance(lines, str) else list(lines)
        super().__init__("\n".join(self.lines))


class RecipeError(UserError):
    """A recipe cannot be run: "file:line: message; did you mean ..?" for everything that is wrong with it."""

    exit_code = 2
