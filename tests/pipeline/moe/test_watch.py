"""The watch's figures by hand, and its one warning."""

import math

import pytest
import torch

from pipeline.moe.watch import LASTING, START, Watch

EVEN, SKEWED, DEAD = [10.0, 10.0, 10.0, 10.0], [20.0, 8.0, 8.0, 4.0], [20.0, 20.0, 0.0, 0.0]


def watch(*steps: list[list[float]], dropped: float = 0.0) -> Watch:
    made = Watch([1, 3], experts=4, top_k=2)
    for step in steps:
        made.see(torch.tensor(step), dropped, loss=0.5)
    return made


def test_figures() -> None:
    figures = watch([EVEN, SKEWED], dropped=8.0).figures()
    shares = [0.5, 0.2, 0.2, 0.1]
    assert figures == {
        "moe/max_over_mean": pytest.approx(2.0),
        "moe/entropy": pytest.approx(-sum(p * math.log(p) for p in shares) / math.log(4)),
        "moe/dead": 0,
        "moe/dropped": pytest.approx(8 / 80),
        "moe/loss": 0.5,
        "moe/load": {"1": [1.0, 1.0, 1.0, 1.0], "3": [2.0, 0.8, 0.8, 0.4]},
    }


def test_what_is_shown_names_the_dead_only_where_there_are_some() -> None:
    assert watch([EVEN, SKEWED]).shown() == {"load": pytest.approx(2.0)}
    assert watch([EVEN, DEAD]).shown() == {"load": pytest.approx(2.0), "dead": 2}
    assert watch().shown() == watch().figures() == watch().summary() == {}


def test_the_start_is_kept_beside_the_end() -> None:
    made = watch(*[[EVEN, SKEWED]] * START, *[[EVEN, EVEN]] * 400)
    assert made.summary() == {
        "expert_load_max_over_mean_at_start": pytest.approx(2.0),
        "expert_load_max_over_mean": pytest.approx(1.0, abs=1e-3)
    }


def test_a_collapse_that_lasts_is_told_once() -> None:
    told = []
    made = watch()
    for _ in range(2 * LASTING):
        made.see(torch.tensor([EVEN, DEAD]), 0.0, 0.0)
        told += made.warnings()
    assert told == [
        "experts collapse in layer 3: the busiest has 2.0 times an even share (at most 2.0 is possible), 2 of 4 have "
        "next to none"
    ]


def test_a_collapse_that_passes_is_not_told() -> None:
    made = watch(*[[EVEN, DEAD]] * (LASTING - 10))
    for _ in range(2 * LASTING):
        made.see(torch.tensor([EVEN, EVEN]), 0.0, 0.0)
        assert made.warnings() == []


def test_it_goes_on_where_it_was() -> None:
    whole = watch(*[[EVEN, SKEWED]] * 9)
    other = watch()
    other.restore(watch(*[[EVEN, SKEWED]] * 8).state())
    other.see(torch.tensor([EVEN, SKEWED]), 0.0, 0.5)
    assert other.figures() == whole.figures()
    assert other.summary() == whole.summary()
