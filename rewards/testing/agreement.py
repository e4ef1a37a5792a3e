"""Whether a value that a program returned is the one that is expected. Both are plain; nothing of the program runs
here."""

import math
from typing import Any

# Relative to what is expected: an absolute one would accept 0 for every tiny value.
RELATIVE_TOLERANCE = 1e-9


def agrees(expected: Any, actual: Any, *, loose: bool = False, tolerance: float = 0.0) -> bool:
    """Whether two plain values are the same: exact types (bool is not int), a list and a tuple alike.

    Where a float is expected a number within 1e-9 of it, relative to the expected value, will do; NaN agrees with NaN
    and infinity with the same infinity alone. With `loose` numbers are the same where Python's == says so, whatever
    their types: True is 1 and 1 is 1.0. With a `tolerance` a number will do that is so near to a float, absolutely or
    relative to it; integers are exact.
    """
    if loose and isinstance(expected, int | float) and isinstance(actual, int | float) and expected == actual:
        actual = expected
    if isinstance(expected, float) and not isinstance(actual, bool) and isinstance(actual, int | float):
        return _near(expected, actual, tolerance)
    # Alike, since JSON has one of them; a test that needs the difference says so by its "type" (functions.py).
    if isinstance(expected, list | tuple):
        return isinstance(actual, list | tuple) and len(expected) == len(actual) and all(
            agrees(one, other, loose=loose, tolerance=tolerance) for one, other in zip(expected, actual, strict=True))
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, dict):
        return _dicts_agree(expected, actual, loose, tolerance)
    if isinstance(expected, set | frozenset):
        return {(type(v), v) for v in expected} == {(type(v), v) for v in actual}
    return bool(expected == actual)


def _near(expected: float, actual: float, tolerance: float) -> bool:
    if math.isnan(expected) or math.isinf(expected):
        return isinstance(actual, float) and (repr(expected) == repr(actual))
    try:
        near = max(RELATIVE_TOLERANCE * abs(expected), tolerance * max(1.0, abs(expected)))
        return abs(actual - expected) <= near
    except OverflowError:  # an integer that no float can hold is far from every float
        return False


def _dicts_agree(expected: dict[Any, Any], actual: dict[Any, Any], loose: bool, tolerance: float) -> bool:
    # 1 and True are one key to Python, so types are part of the key here.
    given = {(type(k), k): v for k, v in actual.items()}
    wanted = {(type(k), k): v for k, v in expected.items()}
    return wanted.keys() == given.keys() and all(
        agrees(v, given[k], loose=loose, tolerance=tolerance) for k, v in wanted.items())
