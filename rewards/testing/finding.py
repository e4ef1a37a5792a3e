"""What putting a program to its tests came to."""

from dataclasses import dataclass

from rewards.errors import RetortError


class BadTests(RetortError, ValueError):
    """The problem's own tests cannot be read or run: nobody can grade with them. One line."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Tests passed of how many, and why not all, in one line. `late`: a test was over its seconds, which may be the
    machine's fault; it and those behind it are not passed."""

    passed: int
    tests: int
    reason: str = ""
    late: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use: seconds for all tests together, memory, and seconds for each test where that is less."""

    seconds: float
    megabytes: int
    each: float | None = None

    @property
    def a_test(self) -> float:
        """The seconds of one test."""
        return self.seconds if self.each is None else min(self.seconds, self.each)

    @property
    def too_late(self) -> str:
        """What is said of a test that was over its seconds."""
        return f"no answer within {self.a_test:g} s"


def one_line(text: object) -> str:
    """What a child said of a failure, fit for a reason; it may have written anything in its place."""
    if not isinstance(text, str):
        return "what the process wrote is not an answer"
    return " ".join(text.split())[:300] or "no answer"


def short(value: object) -> str:
    """A value as a reason shows it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints
        return "a huge value"
    return text if len(text) <= 60 else text[:57] + "..."
