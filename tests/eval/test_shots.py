"""Worked examples come from the training split, and are never among the questions."""

import pytest

from eval.errors import ProblemSetError
from eval.problems import load
from eval.shots import shots_of


def test_examples_are_training_problems_with_their_answers():
    shots = shots_of("word_problems:test", 3)
    assert [asked for asked, _ in shots] == [problem.prompt for problem in load("word_problems:train", 3)]
    assert all(solution.startswith("<answer>") for _, solution in shots)
    assert not {asked for asked, _ in shots} & {problem.prompt for problem in load("word_problems:test")}
    assert shots_of("programs:test", 0) == ()


def test_what_has_none_is_one_line():
    for reference, expected in (
        ("mine.jsonl", "so that none is left for worked examples; write mine.jsonl:test"),
        ("mine.jsonl?verifier=judge.py:v", "write mine.jsonl[?]verifier=judge.py:v:test"),
        ("word_problems:train", "worked examples come from the train split, so measure another one"),
        ("math500:test", "math500:test has no worked examples"),
    ):
        with pytest.raises(ProblemSetError, match=expected) as caught:
            shots_of(reference, 2)
        assert "\n" not in str(caught.value)
