"""The split by hash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.problems.split import split_of


def test_the_split_never_changes():
    """Known values: a change here would put old training problems into new test sets."""
    assert [i for i in range(40) if split_of(str(i)) == "test"] == [9, 39]


def test_the_share_is_as_asked():
    for asked in (0.0, 0.1, 0.5, 1.0):
        found = sum(split_of(f"skeleton {i}", asked) == "test" for i in range(10_000)) / 10_000
        assert found == pytest.approx(asked, abs=0.02)
    with pytest.raises(ValueError, match="test_share"):
        split_of("x", 1.5)


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_only_adds_to_the_test_split(skeleton, one, other):
    small, large = sorted((one, other))
    assert split_of(skeleton, large) == "test" or split_of(skeleton, small) == "train"
