"""Numbers of files that somebody may have changed."""

_LARGEST = 1e300
"""Sums of a few larger ones overflow, here and in a browser."""


def is_number(value: object) -> bool:
    """Whether a value of JSON is a number that can be drawn and averaged: no truth value, no NaN or infinity, and no
    integer that no float holds, such as one of 400 digits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
