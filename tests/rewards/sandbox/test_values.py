"""Plain values survive the wire, and nothing else does."""

import json
import math
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.sandbox.values import TYPES, decoded, encoded

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
KEYS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.tuples(inner, inner), max_leaves=3
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner) | st.sets(KEYS)
                   | st.frozensets(KEYS)),
    max_leaves=12,
)


@given(VALUES)
def test_there_and_back(value: Any) -> None:
    assert written(decoded(json.loads(encoded(value)))) == written(value)


def written(value: Any) -> str:
    """With its types, and sets in one order."""
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(map(written, value))})"
    if isinstance(value, dict):
        return f"dict({', '.join(f'{written(k)}: {written(v)}' for k, v in value.items())})"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({', '.join(sorted(map(written, value)))})"
    return repr(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    | st.tuples(
        st.sampled_from(["int", "float", "dict", "set", "bytes", "complex", "object", "type", "list", "array"]), inner
    ).map(list),
    max_leaves=20,
)


@given(JSON)
def test_anything_else_is_plain_or_an_error(value: Any) -> None:
    try:
        result = decoded(value)
    except (ValueError, TypeError, LookupError, OverflowError):
        return
    encoded(result)  # raises TypeError for what is not plain


def test_subclasses_become_plain() -> None:
    class Sly(int):
        def __eq__(self, other: object) -> bool:
            return True

        def __int__(self) -> int:
            return 7

        __hash__ = int.__hash__

    assert decoded(json.loads(encoded([True, Sly(3)])))[0] is True  # type: ignore[index]
    assert type(decoded(json.loads(encoded(Sly(3))))) is int


@pytest.mark.parametrize("value", [object(), int, len, iter([]), {1: object()}])
def test_what_is_not_plain_is_refused_or_kept(value: Any) -> None:
    with pytest.raises(TypeError):
        encoded(value)
    kept: list[object] = []

    def keep(one: object) -> str:
        kept.append(one)
        return f'["object",{len(kept) - 1}]'

    def known(tag: str, rest: list[Any]) -> object:
        return TYPES[rest[0]] if tag == "type" else kept[rest[0]]

    back = decoded(json.loads(encoded(value, keep)), known)
    assert back is value or back == value


@pytest.mark.parametrize(("value", "plain"), [
    (numpy.int64(-3), -3), (numpy.uint8(200), 200), (numpy.bool_(True), True), (numpy.float32(0.5), 0.5),
    (numpy.float64("inf"), math.inf), (numpy.longdouble(0.25), 0.25), (numpy.complex64(1j), 1j), (numpy.str_("a"), "a"),
    (numpy.bytes_(b"a"), b"a"), (numpy.arange(3), [0, 1, 2]), (numpy.zeros((2, 0)), [[], []]), (numpy.array(7), 7),
    (numpy.eye(2, dtype=bool), [[True, False], [False, True]]), ({numpy.int64(1): numpy.array([0.5])}, {1: [0.5]}),
    (numpy.array(["a", None, [1]], dtype=object), ["a", None, [1]]),
])  # fmt: skip
def test_numbers_of_numpy_are_plain_and_arrays_lists(value: Any, plain: Any) -> None:
    assert written(decoded(json.loads(encoded(value)))) == written(plain)


@pytest.mark.parametrize("value", [numpy.datetime64("2024-01-01"), numpy.array([object()]), numpy.zeros((1,) * 61)])
def test_what_of_numpy_is_not_plain(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encoded(value)


def refused(*_: object) -> Any:
    raise AssertionError("it is plain")


@pytest.mark.parametrize("value", [
    numpy.arange(6).reshape(2, 3).T, numpy.array(0.1), numpy.zeros((0, 3), dtype="f4"), numpy.array(["ab", "c"]),
    numpy.array([1, [2], None], dtype=object), numpy.array([[True], [False]]), numpy.array([1 + 2j]),
])
def test_arrays_stay_arrays_between_processes_that_know_them(value: Any) -> None:
    text = encoded(value, refused)
    back = decoded(json.loads(text), refused)
    assert isinstance(back, numpy.ndarray)
    assert back.dtype == value.dtype
    assert numpy.array_equal(back, value)
    with pytest.raises(ValueError, match="unknown tag"):
        decoded(json.loads(text))  # the grader knows no arrays


def test_depth_and_cycles() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="deep"):
        encoded(cycle)
    assert math.isnan(decoded(json.loads(encoded(math.nan))))  # type: ignore[arg-type]
