"""Planted leaks, what each detector makes of them, and what it makes of texts that are none."""

import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.contamination import TestTexts, Text, text_of, words
from eval.problems import load
from eval.problems.data_folder import VARIABLE

QUESTION = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends "
    "every day "
    "with 4. She sells the remainder at the market for $2 per fresh egg. How much does she make every day?"
)
REORDERED = (
    "How much does Janet make every day? She sells the remainder at the market for $2 per fresh egg. Her ducks lay 16 "
    "eggs per "
    "day, she bakes muffins with 4 for her friends every day and eats three for breakfast every morning."
)
OTHER = (
    "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in total does it take? Answer "
    "with a number, "
    "and say why it is that number and no other number."
)


def found(test, train):
    return {leak.detector for leak in TestTexts([Text("test", test)]).leaks(Text("train", train))}


@pytest.mark.parametrize(("planted", "expected"), [
    (QUESTION, {"13-gram", "8-gram", "numbers"}),
    (QUESTION.upper().replace("THREE", "3").replace("$2", "$2.00"), {"13-gram", "8-gram", "numbers"}),
    (QUESTION.replace("16", "17"), {"13-gram", "8-gram", "numbers"}),
    (REORDERED, {"numbers"}),
    (f"{OTHER * 3} {QUESTION} {OTHER}", {"13-gram", "8-gram"}),
    (OTHER, set()),
])
def test_planted_leaks_by_detector(planted, expected):
    assert found(QUESTION, planted) == expected


@pytest.mark.parametrize(("question", "row"), [
    ("已知函数的图像关于直线对称且在区间上单调递增求实数的取值范围", "题目：{}解答：设函数"),
    ("小明有15张卡片，他又得到2张，然后送给小红7张，请问小明现在还有多少张卡片？", "问题{}答案是10。"),
    ("太郎は本を十冊持っています。花子に三冊あげました。残りは何冊ですか。", "問題:{}答え:七冊"),
    ("จงหาค่าของตัวแปรที่ทำให้สมการเป็นจริงสำหรับจำนวนจริงทุกจำนวน", "โจทย์{}เฉลย"),
])
def test_texts_without_blanks_are_found_within_a_line(question: str, row: str) -> None:
    assert {"13-gram", "8-gram"} <= found(question, row.format(question))
    others = "下列说法正确的是哪一个请选择一项。", "次の式を計算しなさい。答えは整数です。", "จงหาผลบวกของจำนวนต่อไปนี้"
    for other in others:
        assert found(question, row.format(other)) == set()


def test_short_texts_without_blanks_are_compared_whole() -> None:
    assert found("求x的最小值。", "求x的最小值。\n它是2。") == {"8-gram"}
    assert found("下列正确的是哪项？", "题目：下列正确的是哪项？选一个。") == set()
    assert words("设f函数x2=15张") == ["设", "f", "函", "数", "x", "2", "15", "张"]


def test_thirteen_equal_words_alone_are_told_and_stop_nothing():
    part = " ".join(QUESTION.split()[:16])
    (leak,) = TestTexts([Text("test", QUESTION)]).leaks(Text("train", f"{part} and that is all that they do"))
    assert leak.detector == "13-gram"
    assert not leak.grave
    assert leak.share < 0.2


def test_short_texts_are_compared_whole():
    assert found("What is 2 + 3?", "What is 2 + 3?") == {"8-gram"}
    assert found("What is 2 + 3?", "First: what is 2 + 3? That is 5.") == set()
    assert found("What is 2 + 3?", "What is two + 3?\n5") == {"8-gram"}, "a row of a question and its answer"
    assert found("What is 2 + 3?", "What is 2 - 3?\n-1") == set()
    assert found("2 + 3", "3\n2\n+") == set()
    assert found(
        "What is the sum of 2 and 3?", "First: what is the sum of two and 3.0? It is 5."
    ) == {"13-gram", "8-gram"}
    assert found("", "") == set()
    assert found("?", "!") == set()


def test_two_numbers_changed_are_another_problem():
    assert "numbers" not in found(QUESTION, QUESTION.replace("16", "17").replace("with 4", "with 5"))


@given(st.integers(0, 10**6), st.booleans())
def test_numbers_are_words_by_value(value, dollars):
    assert words(f"{'$' if dollars else ''}{value:,}.00 eggs!") == [str(value), "eggs"]


def test_spelling_of_words():
    assert words("Twelve boys, 0.50 of them; don't") == ["12", "boys", "0.5", "of", "them", "don't"]


@pytest.mark.parametrize(
    "name", ["word_problems", "programs", "long_word_problems", "needle", "countdown", "little_countdown"]
)
def test_generated_families_share_no_key_and_no_text(name):
    tests = TestTexts(text_of(problem, f"{name}:test") for problem in load(f"{name}:test", 150))
    trains = [text_of(problem, f"{name}:train") for problem in load(f"{name}:train", 600, 5)]
    assert [leak for text in trains for leak in tests.leaks(text)] == []
    again = text_of(load(f"{name}:test", 150, 0)[7], f"{name}:test")
    assert {leak.detector for leak in tests.leaks(again)} == {"key", "8-gram"}


def test_a_generated_problem_is_found_in_other_names_and_inside_a_text():
    problem = load("word_problems:test", 1)[0]
    tests = TestTexts([text_of(problem, "word_problems:test")])
    renamed = Text("mine 3", "Somebody else's story", ("word_problems", problem.skeleton))
    assert [leak.detector for leak in tests.leaks(renamed)] == ["key"]
    assert [
        leak.detector for leak in tests.leaks(Text("web", f"Once upon a time. {problem.prompt} So it goes."))
    ] == ["8-gram"]


def _plants(question, rng, others):
    """The same question in five disguises."""
    number = rng.choice(list(re.finditer(r"\d+", question)))
    sentences = re.split(r"(?<=[.?!])\s+", question)
    shuffled = question.split()
    rng.shuffle(sentences)
    rng.shuffle(shuffled)
    return {
        "verbatim": question,
        "one number changed": f"{question[: number.start()]}{int(number.group()) + 3}{question[number.end() :]}",
        "sentences reordered": " ".join(sentences),
        "words reordered": " ".join(shuffled),
        "inside a longer document": " ".join([*others[:3], question, *others[3:]]),
    }


@pytest.fixture
def _gsm8k(monkeypatch):
    folder = Path(os.environ.get(VARIABLE) or Path(__file__).parents[3] / "shared" / "data")
    if not (folder / "gsm8k_train.jsonl").is_file():
        pytest.skip(f"no gsm8k_train.jsonl in {folder}; set {VARIABLE} to the folder that has it")
    monkeypatch.setenv(VARIABLE, str(folder))


@pytest.mark.usefixtures("_gsm8k")
def test_on_gsm8k_plants_are_found_and_nothing_stops_falsely():
    """Every fourth test problem, in disguise; and the training set as it is, where three problems share 13 words."""
    tests, trains = load("gsm8k:test"), load("gsm8k:train")
    index = TestTexts(text_of(problem, "gsm8k:test") for problem in tests)
    alarms = [leak for problem in trains for leak in index.leaks(text_of(problem, "gsm8k:train"))]
    assert [leak for leak in alarms if leak.grave] == []
    assert len({leak.test.name for leak in alarms}) <= 3
    rng, caught, asked = random.Random(0), Counter[str](), 0
    for problem in tests[::4]:
        if not re.search(r"\d", problem.prompt):
            continue
        asked += 1
        plants = _plants(problem.prompt, rng, [other.prompt for other in rng.sample(trains, 6)])
        for name, text in plants.items():
            caught[name] += any(
                leak.grave and leak.test.text == problem.prompt for leak in index.leaks(Text("plant", text))
            )
    rates = {name: count / asked for name, count in caught.items()}
    assert rates["verbatim"] == rates["inside a longer document"] == 1.0
    assert rates["one number changed"] > 0.98
    assert rates["sentences reordered"] > 0.95
    assert rates["words reordered"] > 0.95
