"""Whether a value that a program returned is the one that is expected. Both are plain; nothing of the program runs
here."""

import math
from typing import Any

RELATIVE_TOLERANCE = 1e-9


def agrees(expected: Any, actual: Any) -> bool:
    """Whether two plain values are the same: exact types (bool is not int), a list and a tuple alike.

    Where a float is expected a number within 1e-9 of it, relative to the expected value, will do; NaN agrees with NaN
    and infinity with the same infinity alone.
    """
    if isinstance(expected, float) and not isinstance(actual, bool) and isinstance(actual, int | float):
        if math.isnan(expected) or math.isinf(expected):
            return isinstance(actual, float) and (repr(expected) == repr(actual))
        try:
            return abs(actual - expected) <= RELATIVE_TOLERANCE * abs(expected)
        except OverflowError:
            return False
    if isinstance(expected, list | tuple):
        if not isinstance(actual, list | tuple) or len(expected) != len(actual):
            return False
        return all(agrees(e, a) for e, a in zip(expected, actual, strict=True))
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, dict):
        # 1 and True are one key to Python, so types are part of the key here.
        given = {(type(k), k): v for k, v in actual.items()}
        wanted = {(type(k), k): v for k, v in expected.items()}
        return wanted.keys() == given.keys() and all(agrees(v, given[k]) for k, v in wanted.items())
    if isinstance(expected, set | frozenset):
        return {(type(v), v) for v in expected} == {(type(v), v) for v in actual}
    return bool(expected == actual)
