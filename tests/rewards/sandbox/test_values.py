"""Plain values survive the wire, and nothing else does."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.sandbox.values import decoded, encoded

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
        st.sampled_from(["int", "float", "dict", "set", "bytes", "complex", "object", "type", "list"]), inner
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

    def keep(one: object) -> int:
        kept.append(one)
        return len(kept) - 1

    back = decoded(json.loads(encoded(value, keep)), kept.__getitem__)
    assert back is value or back == value


def test_depth_and_cycles() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="deep"):
        encoded(cycle)
    assert math.isnan(decoded(json.loads(encoded(math.nan))))  # type: ignore[arg-type]
