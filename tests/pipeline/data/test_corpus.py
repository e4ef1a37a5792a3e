"""The synthetic web: only training-side skeletons, in a vocabulary that covers every problem, to the letter."""

import random
import re
from itertools import islice

import pytest

from eval.answer_reader import AnswerReader
from eval.assistant_turns import encode_completion
from eval.problems import load
from eval.problems.split import split_of
from eval.prompts import encode_prompt
from eval.tools.calculator import calculator
from pipeline.data.corpus import Corpus, Document
from pipeline.models.tokenizer import train_tokenizer
from rewards.grade import grade
from rewards.rules import format as format_rule
from rewards.rules import readable
from rewards.types import Completion, Problem

SETS = ("word_problems", "programs", "long_word_problems", "needle")
CHANGE = re.compile(r"(?:buys|finds|gets|wins|gives away|loses|sells|drops) (\d+)( more)?")
OPERATION = re.compile(r"(?:(add|subtract|multiply by) (\d+)|(double)|(triple))")


def documents(count: int, **changed: object) -> list[Document]:
    return list(islice(Corpus.model_validate(changed).documents(random.Random(7)), count))


def problem_of(prompt: str) -> Problem:
    """The problem that a prompt of the corpus puts, read from its text alone."""
    needle = re.search(r"The code of (\w+) is (\d+)\.", prompt)
    if needle:
        return Problem("", prompt, needle[2], "math", "needle", f"{needle[1]} {needle[2]}")
    if prompt.startswith("f(x): "):
        operators = {"add": "+", "subtract": "-"}
        steps = [(operators.get(name, "*"), int(number or (2 if double else 3)))
                 for name, number, double, _ in OPERATION.findall(prompt)]
        tests = []
        for x in (-7, -1, 0, 2, 5, 13):
            value = x
            for operator, number in steps:
                value = {"+": value + number, "-": value - number, "*": value * number}[operator]
            tests.append({"input": [x], "expected": value})
        skeleton = " ".join(f"{operator}{number}" for operator, number in steps)
        return Problem("", prompt, {"entry": "f", "tests": tests}, "code", "programs", skeleton)
    start = re.search(r"has (\d+) ", prompt)
    assert start is not None, prompt
    signed = [int(number) if more else -int(number) for number, more in CHANGE.findall(prompt)]
    skeleton = " ".join([start[1], *(f"{number:+}" for number in signed)])
    return Problem("", prompt, str(int(start[1]) + sum(signed)), "math", "word_problems", skeleton)


def test_no_document_holds_a_test_problem() -> None:
    kinds = set()
    for length in (56, 240):
        for document in documents(4000, length=length, filled=0.5):
            if document.prompt is not None:
                problem = problem_of(document.prompt)
                kinds.add(problem.family)
                assert split_of(problem.skeleton) == "train", document.prompt
    assert kinds == {"word_problems", "programs", "needle"}


def test_the_same_seed_writes_the_same_web() -> None:
    assert documents(200) == documents(200)


@pytest.mark.parametrize(
    ("behaviour", "correct", "formatted"),
    [
        ("correct", True, 1.0),
        ("corrected", True, 1.0),
        ("with_errors", False, 1.0),
        ("plain", None, 0.0),
        ("plain_with_errors", None, 0.0),
        ("empty", False, 0.0),
        ("guess", False, 0.0),
    ],
)
def test_behaviours_are_what_they_are_called(behaviour: str, correct: bool | None, formatted: float) -> None:
    only = documents(200, facts=0.0, lists=0.0, needles=0.0, behaviours={behaviour: 1.0}, foreign=0.0)
    for document in only:
        assert document.prompt is not None
        problem, completion = problem_of(document.prompt), Completion(document.text)
        assert format_rule(problem, completion) == formatted
        assert readable(problem, completion)
        if correct is not None:
            assert grade(problem, completion).correct == correct, document


def test_foreign_connectives_make_a_trace_unreadable() -> None:
    only = documents(100, facts=0.0, lists=0.0, needles=0.0, behaviours={"correct": 1.0}, foreign=1.0)
    for document in only:
        assert document.prompt is not None
        assert not readable(problem_of(document.prompt), Completion(document.text))


def test_a_needle_document_answers_its_question() -> None:
    for document in documents(100, facts=0.0, lists=0.0, needles=1.0, words=0.0):
        assert document.prompt is not None
        assert grade(problem_of(document.prompt), Completion(document.text)).correct


@pytest.fixture(scope="module")
def tokenizer():  # type: ignore[no-untyped-def]
    known = islice(Corpus().documents(random.Random("vocabulary")), 20_000)
    return train_tokenizer((f"{d.prompt or ''}\n{d.text}" for d in known), 72)


def test_every_document_comes_back_to_the_letter(tokenizer) -> None:  # type: ignore[no-untyped-def]
    for document in documents(3000, length=240):
        for text in filter(None, (document.prompt, document.text)):
            ids = tokenizer(text)["input_ids"]
            assert tokenizer.unk_token_id not in ids, text
            assert tokenizer.decode(ids) == text
        ids = encode_completion(tokenizer, document.text)
        assert ids[-1] == tokenizer.eos_token_id
        assert AnswerReader(tokenizer).text(ids) == document.text


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_no_problem_has_an_unknown_word(tokenizer, name: str, split: str) -> None:  # type: ignore[no-untyped-def]
    for problem in load(f"{name}:{split}", 600, seed=2):
        ids = encode_prompt(tokenizer, problem)
        assert tokenizer.unk_token_id not in ids, problem.prompt
        assert tokenizer.decode(ids, skip_special_tokens=True) == problem.prompt


def test_the_vocabulary_is_small(tokenizer) -> None:  # type: ignore[no-untyped-def]
    assert len(tokenizer) < 320


def test_products_are_worked_out_by_a_calculator_where_there_is_one_and_what_it_says_is_not_learned() -> None:
    corpus = Corpus(products=1.0, facts=0.0, lists=0.0, needles=0.0, words=0.0)
    called = 0
    for document in islice(corpus.documents(random.Random(0)), 400):
        assert ("<call>" in document.text) <= (document.prompt or "").endswith("\ncalculator")
        if "<call>" in document.text:
            called += 1
            [(begin, end)] = document.not_learned
            before, said = document.text[:begin], document.text[begin:end]
            expression = before.rpartition("<call>calculator ")[2].removesuffix("</call>")
            assert said == f"<result>{calculator(expression)}</result>"
    assert called > 100
