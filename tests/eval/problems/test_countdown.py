"""Countdown problems can be solved, differ, and share no skeleton between splits."""

import pytest

from eval.errors import ProblemSetError
from eval.problems import load
from eval.problems.countdown import countdown
from eval.problems.split import split_of
from rewards.countdown import evaluate, verify
from rewards.types import Completion


def test_every_problem_is_solved_by_its_own_solution_over_all_of_its_numbers():
    for problem in load("countdown:train", 500, seed=1):
        verdict = verify(problem, Completion(f"<answer>{problem.meta['solution']}</answer>"))
        assert verdict.correct, verdict
        _, used = evaluate(problem.meta["solution"])
        assert sorted(used) == sorted(problem.answer["numbers"])
        assert len(used) in (3, 4)
        assert problem.answer["target"] not in used


def test_train_and_test_share_no_skeleton():
    train, test = (load(f"countdown:{split}", 800, seed=0) for split in ("train", "test"))
    assert not {p.skeleton for p in train} & {p.skeleton for p in test}
    assert all(split_of(p.skeleton) == "test" for p in test)
    for problem in test:
        numbers = " ".join(map(str, sorted(problem.answer["numbers"])))
        assert problem.skeleton == f"{numbers} = {problem.answer['target']}"


def test_more_problems_begin_with_fewer_and_seeds_differ():
    assert load("countdown:test", 100, seed=3)[:20] == load("countdown:test", 20, seed=3)
    assert load("countdown:test", 20, seed=3) != load("countdown:test", 20, seed=4)


def test_limits_are_kept_and_an_empty_space_is_said():
    for problem in countdown("train", 50, 0, sizes=(3,), largest_number=9, largest_target=20):
        assert len(problem.answer["numbers"]) == 3
        assert max(problem.answer["numbers"]) <= 9
        assert problem.answer["target"] <= 20
    with pytest.raises(ProblemSetError, match=r"gave \d+ problems, not 5000"):
        countdown("test", 5000, 0, sizes=(2,), largest_number=5, largest_target=10)
    with pytest.raises(ProblemSetError, match="no split 'validation'"):
        load("countdown:validation")
