"""Whether two scalars are equal of which the exact algebra cannot read one: asked of sympy, in a process that can be
killed (oracle.py is that process)."""

import json
from functools import lru_cache
from pathlib import Path

from rewards.frames import LATE, OK
from rewards.maths.latex import latex
from rewards.maths.parser import is_too_large
from rewards.maths.scalars import Number
from rewards.workers import Pool, Worker

SECONDS = 2.0
"""Seconds that sympy may take over one comparison."""

# Nothing is started until an answer needs sympy: most runs never meet one.
_oracle = Pool(lambda: Worker(Path(__file__).parent / "oracle.py", search_path=True))

Side = str | tuple[str, str]
"""LaTeX, or a rational number as its numerator and denominator in hexadecimal digits."""


class Undecided(Exception):
    """The oracle could not tell; the message says why."""


class Uncomputed(Undecided):
    """The oracle was asked, and a side has no value, or none within its time and memory."""


def equal_by_value(gold: Number, given: Number, digits: int) -> bool:
    """Whether two scalars have the same value, or where `digits` is not 0 the same to so many digits.

    Raises Undecided where that could not be found out, which is not remembered.
    """
    # Beside a gold answer that can be read, what nobody can compute is wrong; the time that it takes is no excuse.
    # Otherwise whoever writes it would take a rollout out of its group.
    at_fault = gold.value is not None and given.value is None
    if at_fault and is_too_large(given.text):
        return False
    try:
        return _ask(_side(gold), _side(given), digits)
    except Uncomputed:
        if at_fault:
            return False
        raise


def _side(number: Number) -> Side:
    if number.value is None:
        return number.text
    value = number.value.constant
    if value is None:
        return latex(number.text)
    # Python refuses to write a number of more than 4300 decimal digits, and sympy would have to read them again.
    return f"{value.numerator:x}", f"{value.denominator:x}"


@lru_cache(maxsize=4096)
def _ask(gold: Side, given: Side, digits: int) -> bool:
    request = json.dumps([gold, given, digits]).encode()
    try:
        with _oracle.worker() as worker:
            status, data = worker.ask(request, SECONDS)
    except (RuntimeError, OSError) as error:
        raise Undecided(str(error)) from error
    # The process was killed: it took too long, or more memory than it may.
    if status != OK:
        raise Uncomputed(f"no decision within {SECONDS:g} s" if status == LATE else "comparing took too much memory")
    match data.decode():
        case "equal":
            return True
        # "right": the model's answer cannot be read, which is its own fault; "left" is nobody's.
        case "different" | "right":
            return False
        case "left":
            raise Undecided("the gold answer cannot be read")
    raise Uncomputed("whether they are equal could not be decided")


def forget() -> None:
    """Drop what is remembered; the idle processes stay."""
    _ask.cache_clear()


def close() -> None:
    """End the idle processes."""
    _oracle.close()
