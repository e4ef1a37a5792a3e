"""Problems by their running pass rates: how often each is drawn, what is known of it, and a resumption that asks the
same."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rl.rollouts import curriculum as module
from pipeline.rl.rollouts.curriculum import Asked, Curriculum, Difficulty
from pipeline.rl.rollouts.drawing import Visit
from rewards.types import Label

SIZE = 4


class Graded:
    """What a reward function has last told of: so many right answers of a group, None for what nobody can grade."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def tell(self, visits: Sequence[Visit], right: Mapping[str, int | None]) -> list[Visit]:
        asked, self.told = [], []
        for visit in visits:
            count = right[visit.problem]
            for place in range(SIZE):
                label = Label.UNGRADABLE if count is None else Label.CORRECT if place < count else Label.WRONG
                asked.append(visit)
                self.told.append(SimpleNamespace(verdict=SimpleNamespace(label=label)))
        return asked


def made(problems: int, prompts: int = 2, rounds: int = 100, sets: int = 1, **difficulty: float) -> Any:
    asked = {f"p{number}": Asked(f"Problem {number}?", f"set {number % sets}") for number in range(problems)}
    graded: Any = Graded()
    return Curriculum(Difficulty(**difficulty), asked, graded, prompts, rounds, seed=0), graded


def ask(curriculum: Curriculum, graded: Graded, number: int, right: Mapping[str, int | None]) -> list[Visit]:
    visits = curriculum.round(number)
    curriculum.see(graded.tell(visits, right))
    return visits


rates = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(rates, st.floats(0.05, 0.95), st.floats(0.01, 1))
def test_chances_are_one_together_with_a_floor_for_each_and_most_for_the_nearest(
    known: list[float], target: float, floor: float
) -> None:
    curriculum, _ = made(len(known), target=target, floor=floor)
    curriculum.rates = {f"p{number}": rate for number, rate in enumerate(known)}
    weights = curriculum.weights()
    assert sum(weights.values()) == pytest.approx(1)
    assert min(weights.values()) >= floor / len(known) * (1 - 1e-9)
    for one, weight in weights.items():
        for other, less in weights.items():
            if abs(curriculum.rates[one] - target) <= abs(curriculum.rates[other] - target):
                assert weight >= less * (1 - 1e-9)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 5))
def test_a_round_asks_different_problems_and_the_same_ones_again(problems: int, prompts: int, number: int) -> None:
    prompts = min(problems, prompts)
    curriculum, _ = made(problems, prompts)
    visits = curriculum.round(number)
    assert len({visit.problem for visit in visits}) == len(visits) == prompts
    assert curriculum.round(number) == visits
    assert curriculum.round(curriculum.rounds) == []


def test_problems_near_the_target_are_asked_most_and_none_is_forgotten() -> None:
    """Eight problems: two are solved half of the time, three always and three never."""
    curriculum, graded = made(8, floor=0.3)
    right = {"p0": 2, "p1": 2, "p2": 4, "p3": 4, "p4": 4, "p5": 0, "p6": 0, "p7": 0}
    asked: Counter[str] = Counter()
    for number in range(100):
        asked.update(visit.problem for visit in ask(curriculum, graded, number, right))
    half = asked["p0"] + asked["p1"]
    assert sum(asked.values()) == 200
    assert half > 120
    assert min(asked.values()) >= 3
    assert curriculum.visits == asked
    assert curriculum.figures()["curriculum/asked"] == 1
    assert curriculum.figures()["curriculum/new"] == 0


def test_what_was_not_asked_is_taken_for_the_mean_of_its_set() -> None:
    curriculum, graded = made(6, prompts=6, sets=2, target=0.4)
    assert set(curriculum.expected().values()) == {0.4}
    visits = [Visit("", "p0", 0), Visit("", "p2", 0)]
    curriculum.see(graded.tell(visits, {"p0": 1, "p2": 4}))
    assert curriculum.expected() == {"p0": 0.25, "p1": 0.4, "p2": 1.0, "p3": 0.4, "p4": 0.625, "p5": 0.4}
    assert curriculum.figures() == {
        "curriculum/expected": 0.4, "curriculum/passed": 0.625, "curriculum/new": 1, "curriculum/asked": 2 / 6
    }


def test_a_rate_is_an_exponential_mean_of_what_can_be_graded() -> None:
    curriculum, graded = made(1, prompts=1, memory=0.75)
    found = []
    for number, right in enumerate([None, 4, 0, None]):
        [visit] = ask(curriculum, graded, number, {"p0": right})
        found.append((visit.visit, curriculum.rates.get("p0")))
    assert found == [(0, None), (1, 1.0), (2, 0.75), (3, 0.75)]


def test_what_is_resumed_asks_what_it_would_have_asked() -> None:
    right = {f"p{number}": number % 5 for number in range(10)}
    whole, graded = made(10)
    for number in range(20):
        ask(whole, graded, number, right)
    again, others = made(10)
    again.restore(whole.state())
    for number in range(20, 30):
        assert ask(again, others, number, right) == ask(whole, graded, number, right)
    assert again.state() == whole.state()
    assert again.figures() == whole.figures()


def test_processes_that_share_a_round_have_the_rates_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that have three rollouts of four each, of which the second group is split between them."""
    right = {"p0": 3, "p1": 2}
    alone, graded = made(2)
    visits = alone.round(0)
    asked = graded.tell(visits, right)
    told = [(visit.problem, one.verdict.label) for visit, one in zip(asked, graded.told, strict=True)]
    alone.see(asked)
    monkeypatch.setattr(module.processes, "count", lambda: 2)
    monkeypatch.setattr(module, "gather_object", lambda own: told[:3] + own)
    one_of_two, others = made(2)
    others.told = graded.told[3:]
    one_of_two.see(asked[3:])
    assert one_of_two.state() == alone.state()
    assert one_of_two.figures() == alone.figures()
