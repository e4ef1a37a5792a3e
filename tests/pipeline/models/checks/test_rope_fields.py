from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from pipeline.models.checks.rope_fields import Scaling, all_rope_faults, rope_faults

YARN = {"rope_type": "yarn", "factor": 4.0, "beta_fast": 2.0, "beta_slow": 0.5, "truncate": False, "mscale": 1.0}


@pytest.mark.parametrize("parameters", [
    YARN, {"rope_type": "default", "rope_theta": 50.0}, {}, {"rope_type": "linear", "factor": 2},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    {"rope_type": "longrope", "short_factor": [1.0, 1.0], "long_factor": [2.0, 3.0]},
])
def test_what_transformers_takes_passes(parameters: dict[str, Any]) -> None:
    assert list(rope_faults(parameters)) == []


@pytest.mark.parametrize(("changed", "where", "said"), [
    ({"rope_type": "yran"}, "rope_type", "there is no rope_type 'yran'; did you mean 'yarn'?"),
    ({"rope_type": None}, "rope_type", "there is no rope_type None"),
    ({"factr": 2.0}, "factr", "did you mean 'factor'?"),
    ({"low_freq_factor": 1.0}, "low_freq_factor", "it belongs to rope_type llama3"),
    ({"factor": 0.5}, "factor", "at least 1"),
    ({"factor": "4"}, "factor", "should be a number, not '4'"),
    ({"factor": True}, "factor", "should be a number, not True"),
    ({"factor": 1e12}, "factor", "at most 1e+06"),
    ({"rope_theta": 1}, "rope_theta", "above 1"),
    ({"original_max_position_embeddings": 1.5}, "original_max_position_embeddings", "whole number"),
    ({"truncate": 1}, "truncate", "true or false"),
    ({"beta_fast": 0.25}, "beta_slow", "beta_slow (0.5) should be below beta_fast (0.25)"),
    ({"mscale": -1.0}, "mscale", "at least 0"),
])
def test_what_is_wrong_is_named(changed: dict[str, Any], where: str, said: str) -> None:
    [(place, message)] = rope_faults({**YARN, **changed})
    assert ".".join(map(str, place)) == where
    assert said in message


def test_what_a_type_needs_is_asked_for() -> None:
    assert [said for _, said in rope_faults({"rope_type": "yarn"})] == ["rope_type yarn needs factor"]
    [(place, said)] = rope_faults({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [-1.0]})
    assert (place, said.partition(",")[0]) == (("long_factor",), "should be a list of numbers above 0")


def test_blocks_by_layer_type_are_each_looked_at() -> None:
    [(place, _)] = all_rope_faults({"full_attention": {"rope_type": "yran"}, "sliding_attention": YARN})
    assert place == ("full_attention", "rope_type")


class Holder(BaseModel):
    scaling: Scaling | None = None


def test_a_field_tells_the_place_inside_it() -> None:
    assert Holder(scaling=YARN).scaling == YARN
    with pytest.raises(ValidationError) as caught:
        Holder(scaling={"rope_type": "yarn", "factor": -1, "{factr}": 2})
    assert [error["loc"] for error in caught.value.errors()] == [("scaling", "factor"), ("scaling", "{factr}")]
    with pytest.raises(ValidationError, match="needs a rope_type"):
        Holder(scaling={"factor": 2.0})


def test_a_scaling_that_would_scale_nothing_is_refused() -> None:
    dynamic = {"rope_type": "dynamic", "factor": 4.0}
    assert list(rope_faults(dynamic)) == []  # of an architecture it scales what lies beyond its context
    with pytest.raises(ValidationError, match="all are its own once it is extended; take yarn") as caught:
        Holder(scaling={**dynamic, "factr": 2.0})
    assert [error["loc"] for error in caught.value.errors()] == [("scaling", "rope_type"), ("scaling", "factr")]
