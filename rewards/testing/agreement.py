"""Whether a value that a program returned is the one that is expected. Both are plain; nothing of the program runs
here."""

import math
from collections.abc import Sequence
from typing import Any

# Relative to what is expected: an absolute one would accept 0 for every tiny value.
RELATIVE_TOLERANCE = 1e-9


def agrees(expected: Any, actual: Any, *, loose: bool = False) -> bool:
    """Whether two plain values are the same: exact types (bool is not int), a list and a tuple alike.

    Where a float is expected a number within 1e-9 of it, relative to the expected value, will do; NaN agrees with NaN
    and infinity with the same infinity alone. With `loose` numbers are the same where Python's == says so, whatever
    their types: True is 1 and 1 is 1.0.
    """
    if loose and isinstance(expected, int | float) and isinstance(actual, int | float) and expected == actual:
        actual = expected
    if isinstance(expected, float) and not isinstance(actual, bool) and isinstance(actual, int | float):
        return _near(expected, actual)
    # Alike, since JSON has one of them; a test that needs the difference says so by its "type" (functions.py).
    if isinstance(expected, list | tuple):
        return isinstance(actual, list | tuple) and len(expected) == len(actual) and _all_agree(expected, actual, loose)
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, dict):
        return _dicts_agree(expected, actual, loose)
    if isinstance(expected, set | frozenset):
        return {(type(v), v) for v in expected} == {(type(v), v) for v in actual}
    return bool(expected == actual)


def _near(expected: float, actual: float) -> bool:
    if math.isnan(expected) or math.isinf(expected):
        return isinstance(actual, float) and (repr(expected) == repr(actual))
    try:
        return abs(actual - expected) <= RELATIVE_TOLERANCE * abs(expected)
    except OverflowError:  # an integer that no float can hold is far from every float
        return False


def _all_agree(expected: Sequence[Any], actual: Sequence[Any], loose: bool) -> bool:
    return all(agrees(one, other, loose=loose) for one, other in zip(expected, actual, strict=True))


def _dicts_agree(expected: dict[Any, Any], actual: dict[Any, Any], loose: bool) -> bool:
    # 1 and True are one key to Python, so types are part of the key here.
    given = {(type(k), k): v for k, v in actual.items()}
    wanted = {(type(k), k): v for k, v in expected.items()}
    return wanted.keys() == given.keys() and all(agrees(v, given[k], loose=loose) for k, v in wanted.items())
