"""Loading by reference: fixed sets, a user's own files and functions, and every way to get it wrong."""

import json
import os

import pytest

from eval.errors import ProblemSetError
from eval.problems import PROBLEMS, load, load_sets, resolve
from eval.problems.data_folder import VARIABLE
from rewards.registry import RegistryError

GSM8K = [
    {"question": f" Tom has {i} eggs, buys 1,000. How many? ", "answer": f"<<{i}+1000>> so\n#### {1000 + i:,}"}
    for i in range(12)
]
MATH = [{"problem": "What is $1/2$ of 3?", "solution": "..", "answer": "\\frac{3}{2}", "subject": "Algebra",
         "level": 1, "unique_id": "test/algebra/1.json"}]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, rows in {"gsm8k_test": GSM8K, "math500_test": MATH, "math_train": MATH}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def complaint(reference, *args, **options):
    with pytest.raises((ProblemSetError, RegistryError)) as caught:
        load(reference, *args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("folder")
def test_gsm8k_reads_the_number_after_the_hashes():
    problems = load("gsm8k:test")
    assert [p.answer for p in problems] == [str(1000 + i) for i in range(12)]
    first = problems[0]
    assert (first.id, first.verifier, first.family) == ("gsm8k-test-0", "math", "gsm8k")
    assert first.prompt == "Tom has 0 eggs, buys 1,000. How many?"


def test_gsm8k_without_a_marked_answer_is_an_error(folder):
    (folder / "gsm8k_test.jsonl").write_text('{"question": "?", "answer": "so 5"}\n')
    assert complaint("gsm8k:test") == "gsm8k:test row 0 has no answer after '####'"


@pytest.mark.usefixtures("folder")
def test_math500_keeps_the_answer_as_written():
    (problem,) = load("math500:test")
    assert (problem.id, problem.answer) == ("math500-test/algebra/1", "\\frac{3}{2}")
    assert problem.meta == {"subject": "Algebra", "level": 1, "solution": ".."}
    (other,) = load("math:train")
    assert (other.id, other.answer, other.family) == ("math-test/algebra/1", "\\frac{3}{2}", "math")
    assert complaint("math:test") == "problem set 'math' has no split 'test'; write math:train"
    assert complaint("math500:train") == "problem set 'math500' has no split 'train'; write math500:test"


@pytest.mark.usefixtures("folder")
def test_a_draw_of_fewer_is_part_of_a_draw_of_more():
    assert load("gsm8k:test", 8, 5)[:3] == load("gsm8k:test", 3, 5)
    assert load("gsm8k:test", 8, 5) != load("gsm8k:test", 8, 6)
    assert sorted(p.id for p in load("gsm8k:test", 12, 5)) == sorted(p.id for p in load("gsm8k:test"))
    assert complaint("gsm8k:test", 13) == "gsm8k:test holds 12 problems; 13 were asked for"
    assert "at least 1" in complaint("gsm8k:test", 0)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("gsm8k", "is not written name:split, such as gsm8k:test"),
        ("gsm8k:", "is not written name:split, such as gsm8k:test"),
        ("", "is not written name:split"),
        ("gsm8k:tets", "has no split 'tets'; write gsm8k:train or gsm8k:test"),
        ("gms8k:test", "did you mean 'gsm8k'?"),
        ("mine.py:riddles", "does not say which split: write mine.py:riddles:test"),
        ("mine.py:riddles:test", "there is no file"),
        ("absent.jsonl", "there is no problem file"),
    ],
)
def test_wrong_references_are_one_line(reference, said):
    assert said in complaint(reference)


def test_resolve_reads_no_data(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    entry, split = resolve("gsm8k:test")
    assert (entry.name, split) == ("gsm8k", "test")


def test_a_ten_line_function_is_a_problem_set(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from rewards.types import Problem\n"
        "def riddles(split, n, seed):\n"
        '    """Riddles of mine."""\n'
        "    return [Problem(f'riddle-{i}', f'{i} + 1?', f'{i + 1}', 'math', 'riddles') for i in range(n or 9)]\n"
        "def twins(split, n, seed):\n"
        "    return riddles(split, 2, seed) * 2\n"
    )
    assert len(load("mine.py:riddles:test", 4, base=tmp_path)) == 4
    assert "2 problem ids are not unique, such as 'riddle-0'" in complaint("mine.py:twins:test", base=tmp_path)


def test_a_users_own_rows(tmp_path):
    file = tmp_path / "mine.jsonl"
    rows = [{"prompt": f"{i} + 1?", "answer": i + 1} for i in range(50)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    every = load("mine.jsonl", base=tmp_path)
    assert every == load(str(file))
    first = every[0]
    assert (first.id, first.answer, first.verifier, first.family) == ("mine-1", "1", "math", "mine")
    nulls = dict.fromkeys(("id", "verifier", "family", "skeleton", "meta"))  # as tables have them
    (tmp_path / "nulls.jsonl").write_text(json.dumps({**nulls, **rows[0]}) + "\n" + json.dumps({**rows[1], "id": 60}))
    (tmp_path / "empty.csv").write_text("prompt,answer,id,skeleton,verifier,family\n0 + 1?,1,,,,\n0 + 2?,2,,,,\n")
    assert [(p.id, p.skeleton, p.verifier, p.family) for p in load("empty.csv", base=tmp_path)] == [
        ("empty-1", "0 + 1?", "math", "empty"), ("empty-2", "0 + 2?", "math", "empty")
    ]
    one, other = load("nulls.jsonl", base=tmp_path)
    assert (one.id, one.verifier, one.family, one.meta, one.skeleton) == ("nulls-1", "math", "nulls", {}, "0 + 1?")
    assert other.id == "60"
    (tmp_path / "MINE.JSONL").write_text(file.read_text())
    assert [problem.prompt for problem in load("MINE.JSONL", base=tmp_path)] == [problem.prompt for problem in every]
    train, test = (load(f"mine.jsonl:{split}", base=tmp_path) for split in ("train", "test"))
    assert {p.id for p in train} | {p.id for p in test} == {p.id for p in every}
    assert len(train) + len(test) == 50
    assert len(test) > 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "?"}, ":1 has no column 'answer'; it has 'prompt'"),
        ({"prompt": 5, "answer": "5"}, "'prompt' must be text, not 5"),
        ({"prompt": "?", "answer": "5", "level": 3}, "there is no column 'level'; 'meta' takes anything"),
        ({"prompt": "?", "answer": "5", "meta": []}, "'meta' must be an object, not []"),
        ({"prompt": " ", "answer": "5"}, ":1: 'prompt' is empty"),
        ({"prompt": "?", "answer": None}, ":1: 'answer' must be a text or a number, not null"),
        ({"prompt": "?", "answer": ["3"]}, ":1: 'answer' must be a text or a number, not [\"3\"]"),
        ({"prompt": "?", "answer": "C", "verifier": "choice"}, "can be graded with this 'answer' by 'choice'"),
        ({"prompt": "?", "answer": "def f(): pass", "verifier": "code"}, "by 'code': write {"),
        ({"prompt": "?", "answer": {"entry": "f", "tests": []}, "verifier": "code"}, "by 'code': there are no tests"),
        ({"prompt": "?", "answer": {"entry": "f", "tests": [{"inputs": [1], "expected": 2}]}, "verifier": "code"},
         "by 'code': a test is {"),
        ({"prompt": "?", "answer": {"entry": "f g", "tests": [{"input": [1], "expected": 2}]}, "verifier": "code"},
         "by 'code': write {"),
        ({"prompt": "?", "answer": {"names": ["f"], "asserts": []}, "verifier": "code"}, "there is at least one"),
        ({"prompt": "?", "answer": {"names": ["f"], "asserts": ["assert f(1) =="]}, "verifier": "code"},
         "by 'code': the tests cannot be run: SyntaxError"),
        ({"prompt": "?", "answer": {"entry": "f", "check": "x = 1"}, "verifier": "code"}, "has no function check("),
        ({"prompt": "?", "answer": {"tests": [{"stdin": 1, "stdout": "2"}]}, "verifier": "code"},
         "by 'code': a test of a script is {"),
        ({"prompt": "?", "answer": {"letter": "E", "choices": ["1", "2"]}, "verifier": "choice"},
         "by 'choice': the letter 'E' is none of the 2 choices"),
        ({"prompt": "?", "answer": "5", "verifier": "countdown"}, "by 'countdown': the problem's answer is not {"),
        ({"prompt": "?", "answer": "", "verifier": "math"}, ":1: 'answer' must be a text or a number, not \"\""),
    ],
)
def test_rows_that_are_no_problem_are_one_line(tmp_path, row, said):
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    assert said in complaint("mine.jsonl", base=tmp_path)


def test_every_registered_set_names_a_module_of_this_floor():
    for entry in PROBLEMS.entries():
        if entry.origin == "built-in":
            assert entry.target.startswith("eval.problems.")


def test_ids_are_unique_over_several_sets(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows = [{"prompt": f"{name} {i}?", "answer": f"{name}{i}"} for i in range(3)]
        (tmp_path / name / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    references = ["a/train.jsonl", "b/train.jsonl"]
    one, other = load_sets(references, base=tmp_path)
    assert [problem.id for problem in one] == ["train-1", "train-2", "train-3"]
    assert [problem.id for problem in other] == [f"b/train.jsonl/train-{i}" for i in (1, 2, 3)]
    assert [problem.answer for problem in other] == ["b0", "b1", "b2"]
    with pytest.raises(ProblemSetError, match=r"problem set a/train.jsonl is named twice"):
        load_sets([*references, references[0]], base=tmp_path)


def test_half_a_surrogate_pair_is_told_before_it_is_asked(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"prompt": "?", "answer": "5", "meta": {"x": "\\ud801"}}\n')
    assert "'meta' holds half of a surrogate pair" in complaint("mine.jsonl", base=tmp_path)


def test_a_file_whose_name_is_not_in_utf_8_has_ids_that_can_be_written(tmp_path):
    file = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    file.write_text('{"prompt": "1 + 1 = ?", "answer": "2"}\n')
    (problem,) = load(str(file))
    assert (problem.id, problem.family) == ("caf\\udce9-1", "caf\\udce9")
