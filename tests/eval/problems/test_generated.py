"""The procedural sets: right answers, splits that share no skeleton, and more of the same where more is asked for."""

import random
import re

import pytest

from eval.problems import load
from eval.problems.draw import distinct
from eval.problems.filler import pieces, sentence
from eval.problems.long import LENGTH
from eval.problems.needle import DEPTHS, LENGTHS, LENGTHS_32K, LENGTHS_128K
from eval.problems.programs import INPUTS, Program, draw_operation
from eval.problems.split import split_of
from rewards.grade import grade
from rewards.types import Completion, Problem

SETS = ("word_problems", "programs", "long_word_problems", "needle")
CHANGE = re.compile(r"(buys|finds|gets|wins|gives away|loses|sells|drops) (\d+)( more)?")
OPERATION = re.compile(r"(?:(add|subtract|multiply by) (\d+)|(double)|(triple))")


def story_of(prompt: str) -> tuple[str, int]:
    """Skeleton and answer of a word problem, read from its text alone."""
    start = re.search(r"has (\d+) ", prompt)
    assert start is not None
    skeleton, total = [start[1]], int(start[1])
    for verb, number, more in CHANGE.findall(prompt):
        assert bool(more) == (verb in ("buys", "finds", "gets", "wins"))
        skeleton.append(f"{'+' if more else '-'}{number}")
        total += int(number) if more else -int(number)
        assert total >= 0, prompt
    return " ".join(skeleton), total


def program_of(prompt: str) -> tuple[str, list[int]]:
    """Skeleton of a program, and its values on the test inputs, read from its description alone."""
    skeleton, values = [], list(INPUTS)
    for name, number, double, triple in OPERATION.findall(prompt):
        operator = {"add": "+", "subtract": "-"}.get(name, "*")
        operand = 2 if double else 3 if triple else int(number)
        skeleton.append(f"{operator}{operand}")
        values = [{"+": x + operand, "-": x - operand, "*": x * operand}[operator] for x in values]
    return " ".join(skeleton), values


@pytest.mark.parametrize("name", ["word_problems", "long_word_problems"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_word_problems_have_the_answer_of_their_text(name: str, split: str) -> None:
    for problem in load(f"{name}:{split}", 300, seed=1):
        assert (problem.skeleton, problem.answer) == (story_of(problem.prompt)[0], str(story_of(problem.prompt)[1]))
        assert len(problem.skeleton.split()) - 1 == problem.meta["steps"]
        assert grade(problem, Completion(f"<think>x</think><answer>{problem.answer}</answer>")).correct


@pytest.mark.parametrize("split", ["train", "test"])
def test_programs_expect_what_their_text_says(split: str) -> None:
    for problem in load(f"programs:{split}", 300, seed=1):
        skeleton, values = program_of(problem.prompt)
        assert problem.skeleton == skeleton
        assert problem.answer["tests"] == [{"input": [x], "expected": y} for x, y in zip(INPUTS, values, strict=True)]


def test_a_program_is_graded_by_running_it() -> None:
    problem = load("programs:test", 1)[0]
    body = "; ".join(f"x {part[0]}= {part[1:]}" for part in problem.skeleton.split())
    assert grade(problem, Completion(f"<think>x</think><answer>def f(x): {body}; return x</answer>")).correct
    assert not grade(problem, Completion(f"<think>x</think><answer>def f(x): {body}; return x + 1</answer>")).correct


@pytest.mark.parametrize("name", SETS)
def test_train_and_test_share_no_skeleton(name: str) -> None:
    train, test = (load(f"{name}:{split}", 400, seed) for split, seed in (("train", 0), ("test", 5)))
    assert {p.skeleton for p in train}.isdisjoint(p.skeleton for p in test)
    assert {split_of(p.skeleton) for p in train} == {"train"}
    assert {split_of(p.skeleton) for p in test} == {"test"}


@pytest.mark.parametrize("name", SETS)
def test_asking_for_more_only_adds(name: str) -> None:
    few, many = load(f"{name}:test", 7, 3), load(f"{name}:test", 60, 3)
    assert many[:7] == few
    assert load(f"{name}:test", 60, 3) == many
    assert load(f"{name}:test", 60, 4) != many
    assert len({p.prompt for p in many}) == 60


@pytest.mark.parametrize("name", ["word_problems", "programs", "long_word_problems"])
def test_no_skeleton_comes_twice_in_a_set(name: str) -> None:
    problems = load(f"{name}:test", None)
    assert len({p.skeleton for p in problems}) == len(problems) == 1000


def test_more_than_there_are_ends_the_search() -> None:
    rng = random.Random(0)
    found = distinct(lambda: Program((draw_operation(rng),)), 1_000_000)
    assert len({program.skeleton for program in found}) == len(found) == 33


def test_long_problems_fill_their_length_with_what_means_nothing() -> None:
    for problem in load("long_word_problems:test", 100):
        assert LENGTH - 9 <= pieces(problem.prompt) <= LENGTH
        assert problem.prompt.endswith("?")


def test_filler_says_nothing_that_a_problem_could_mean() -> None:
    rng = random.Random(0)
    for text in (sentence(rng) for _ in range(500)):
        assert not re.search(r"\d", text)
        assert not CHANGE.search(text)
        assert 5 <= pieces(text) <= 8


@pytest.mark.parametrize(("name", "lengths"), [("needle_32k", LENGTHS_32K), ("needle_128k", LENGTHS_128K)])
def test_needles_of_long_contexts_are_as_long_as_they_say(name: str, lengths: tuple[int, ...]) -> None:
    problems = load(f"{name}:test", len(lengths) * len(DEPTHS))
    assert {problem.meta["length"] for problem in problems} == set(lengths)
    for problem in problems:
        assert problem.meta["length"] - 10 < pieces(problem.prompt) <= problem.meta["length"]
        assert f"is {problem.answer}." in problem.prompt


def test_needles_stand_where_their_meta_says() -> None:
    problems = load("needle:test", None)
    cells = {(p.meta["length"], p.meta["depth"]) for p in problems}
    assert cells == {(length, depth) for length in LENGTHS for depth in DEPTHS}
    for problem in problems:
        check_needle(problem)


def check_needle(problem: Problem) -> None:
    sentences = re.findall(r"[^.?]+[.?]", problem.prompt)
    (place,) = [i for i, text in enumerate(sentences) if re.search(r"\d", text)]
    name, number = re.fullmatch(r" ?The code of (\w+) is (\d+)\.", sentences[place]).groups()  # type: ignore[union-attr]
    assert (number, f"{name} {number}") == (problem.answer, problem.skeleton)
    assert sentences[-1].strip() == f"What is the code of {name}?"
    assert abs(place / (len(sentences) - 2) - problem.meta["depth"]) <= 0.5 / (len(sentences) - 2) + 1e-9
    assert problem.meta["length"] - 9 <= pieces(problem.prompt) <= problem.meta["length"]
