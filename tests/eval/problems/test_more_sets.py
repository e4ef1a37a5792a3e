"""AIME, GPQA, decimals, reasoning-gym, and files of a user's own with columns of any name."""

import json
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from eval.errors import ProblemSetError
from eval.problems import load, own_rows, resolve, set_names
from eval.problems.data_folder import VARIABLE
from pipeline.recipe.plugins import resolve_plug_in
from rewards.grade import grade
from rewards.registry import RegistryError
from rewards.types import Completion, Label

AIME = [
    {"id": 60 + i, "problem": f" Find {i}. ", "answer": f"{i:03d}", "solution": "..", "year": "2024"} for i in range(30)
]
GPQA = [{"Question": f"Which is it, {i}?", "Correct Answer": f"right {i}", "Incorrect Answer "
                                                                           "1": "wrong", "Incorrect Answer 2": "worse",
         "Incorrect Answer 3": "worst", "High-level domain": "Physics", "Record ID": f"rec{i}"} for i in range(40)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, rows in {"aime2024_test": AIME, "aime2025_test": AIME, "gpqa_diamond_test": GPQA}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def complaint(reference, **options):
    with pytest.raises((ProblemSetError, RegistryError)) as caught:
        load(reference, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["aime2024", "aime2025"])
def test_aime(name):
    problems = load(f"{name}:test")
    assert [p.answer for p in problems] == [str(i) for i in range(30)]
    assert (problems[0].id, problems[0].prompt) == (f"{name}-60", "Find 0.")
    assert grade(problems[7], Completion("<answer>007</answer>")).correct
    assert "has no split 'train'" in complaint(f"{name}:train")


def test_an_answer_that_aime_cannot_have(folder):
    (folder / "aime2025_test.jsonl").write_text(json.dumps({**AIME[0], "answer": "336^\\circ"}))
    assert [p.answer for p in load("aime2025:test")] == ["336"]
    (folder / "aime2024_test.jsonl").write_text(json.dumps({**AIME[0], "answer": "1000"}))
    assert complaint("aime2024:test") == "aime2024 row 60: the answer '1000' is no whole number from 0 to 999"


@pytest.mark.usefixtures("folder")
def test_gpqa_is_shuffled_the_same_way_every_time():
    problems = load("gpqa_diamond:test")
    assert problems == load("gpqa_diamond:test")
    assert {p.answer["letter"] for p in problems} == set("ABCD")
    for i, problem in enumerate(problems):
        letter = problem.answer["letter"]
        assert f"\n{letter}) right {i}\n" in problem.prompt
        assert grade(problem, Completion(f"<answer>{letter}</answer>")).correct
        assert grade(problem, Completion(f"<answer>right {i}</answer>")).correct
        assert grade(problem, Completion("<answer>wrong</answer>")).label == Label.WRONG
    assert problems[0].meta == {"domain": "Physics"}


@pytest.mark.parametrize("split", ["train", "test"])
def test_decimals_are_compared_by_value(split):
    problems = load(f"decimals:{split}", 150)
    for problem in problems:
        written = [Fraction(word.rstrip("?,.")) for word in problem.prompt.split() if word[0].isdigit()]
        best = max(written) if "larger" in problem.prompt else min(written)
        assert Fraction(problem.answer) == best
        assert len(set(written)) == 2
        assert grade(problem, Completion(f"<answer>{problem.answer}</answer>")).correct
    versions = sum(
        max(
            p.skeleton.split(), key=lambda text: int(text.partition(".")[2])
        ) != max(p.skeleton.split(), key=Fraction) for p in problems
    )
    assert versions > 30, "read as versions, many would be answered wrongly"
    other = "train" if split == "test" else "test"
    assert not {p.skeleton for p in problems} & {p.skeleton for p in load(f"decimals:{other}", 150, 3)}


def test_a_file_with_a_map_of_columns(tmp_path):
    rows = [{"question": f"{i} + 1?", "final": i + 1, "number": i, "source": "me"} for i in range(8)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems = load("mine.jsonl?prompt=question&answer=final&id=number", base=tmp_path)
    assert [(p.id, p.prompt, p.answer) for p in problems] == [(str(i), f"{i} + 1?", str(i + 1)) for i in range(8)]
    assert 0 < len(load("mine.jsonl?prompt=question&answer=final:train", base=tmp_path)) <= 8
    assert "mine.jsonl:1 has no column 'prompt'; it has 'question'" in complaint("mine.jsonl", base=tmp_path)
    assert "mine.jsonl:1 has no column 'solution'; it has" in complaint(
        "mine.jsonl?answer=solution", base=tmp_path
    )
    assert "'promt=question' is no column" in complaint("mine.jsonl?promt=question", base=tmp_path)
    assert resolve_plug_in("problem set", "mine.jsonl?prompt=question&answer=final", tmp_path).source_hash
    with pytest.raises(RegistryError, match="is no column"):
        resolve_plug_in("problem set", "mine.jsonl?x=y", tmp_path)


@pytest.mark.parametrize("row", [
    {"choices": ["red", "blue", "green", "grey"], "answer": 2}, {"options": ["red", "blue"], "answer": "B"},
    {"choices": {"text": ["red", "blue"], "label": ["A", "B"]}, "answer": "(a)"},
])
def test_choices_that_no_prompt_has_are_told(tmp_path, row):
    def written(**changed):
        (tmp_path / "mine.jsonl").write_text(json.dumps({"question": "Which colour?", **row, **changed}) + "\n")
        return "mine.jsonl?prompt=question&answer=answer&meta=*"

    said = f"mine.jsonl:1: the answer {row['answer']!r} says which of"
    assert said in complaint(written(), base=tmp_path)
    assert said in complaint(written().removesuffix("&meta=*"), base=tmp_path)
    assert said in complaint(written(question=[{"role": "user", "content": "Which colour?"}]), base=tmp_path)
    for asked in ({"question": "Which? A) red B) blue C) green D) grey"}, {"answer": "blue"},
                  {"choices": ["3", "4", "5"], "answer": "4", "options": None},
                  {column: None for column in row if column != "answer"}):
        assert len(load(written(**asked), base=tmp_path)) == 1


def test_a_parquet_file(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"question": ["1 + 1?", "2 + 2?"], "answer": ["2", "4"]}), tmp_path / "mine.parquet")
    problems = load("mine.parquet?prompt=question", base=tmp_path)
    assert [(p.id, p.prompt, p.answer) for p in problems] == [("mine-1", "1 + 1?", "2"), ("mine-2", "2 + 2?", "4")]
    (tmp_path / "broken.parquet").write_text("no")
    assert "broken.parquet cannot be read as Parquet" in complaint("broken.parquet", base=tmp_path)
    assert "there is no problem file" in complaint("none.parquet", base=tmp_path)


def test_what_only_parquet_can_say(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    answers = pyarrow.array([0.1, 1e-7, 20.0], pyarrow.float32())
    rows = {"prompt": ["a?", "b?", "c?"], "meta": [{"day": date(2024, 1, 1), "level": 3}] * 3}
    parquet.write_table(pyarrow.table({**rows, "answer": answers}), tmp_path / "single.parquet")
    problems = load("single.parquet", base=tmp_path)
    assert [problem.answer for problem in problems] == ["0.1", "1e-07", "20.0"]
    assert problems[0].meta == {"level": 3}
    half = pyarrow.array([0.1, 1e-7, 20.0], pyarrow.float32()).cast(pyarrow.float16())
    parquet.write_table(pyarrow.table({**rows, "answer": half}), tmp_path / "half.parquet")
    assert [problem.answer for problem in load("half.parquet", base=tmp_path)] == ["0.1", "1e-07", "20.0"]
    models = pyarrow.array([{"ground_truth": 0.1, "more": [[0.2], None]}] * 3, pyarrow.struct(
        [("ground_truth", pyarrow.float32()), ("more", pyarrow.list_(pyarrow.list_(pyarrow.float16())))]))
    inside = pyarrow.table({"prompt": rows["prompt"], "reward_model": models, "extra_info": models})
    parquet.write_table(inside, tmp_path / "inside.parquet")
    [problem, *_] = load("inside.parquet", base=tmp_path)
    assert problem.answer == "0.1"
    assert problem.meta["extra_info"] == {"ground_truth": 0.1, "more": [[0.2], None]}
    exact = pyarrow.array([Decimal("1.50"), Decimal("2.25"), Decimal("300.00")])
    parquet.write_table(pyarrow.table({**rows, "answer": exact}), tmp_path / "exact.parquet")
    assert [problem.answer for problem in load("exact.parquet", base=tmp_path)] == ["1.50", "2.25", "300.00"]
    days = pyarrow.array([date(2024, 1, day) for day in (1, 2, 3)])
    parquet.write_table(pyarrow.table({**rows, "answer": days}), tmp_path / "days.parquet")
    assert "'answer' must be a text or a number, not \"2024-01-01\"" in complaint("days.parquet", base=tmp_path)
    parquet.write_table(pyarrow.table({**rows, "answer": [1.0, float("nan"), 2.0]}), tmp_path / "nan.parquet")
    assert "row 2: 'answer' must be a text or a number, not NaN" in complaint("nan.parquet", base=tmp_path)


@pytest.mark.parametrize(("name", "row", "said"), [
    ("gsm8k_test", {"question": "?", "answer": 72}, "row 1: 'answer' must be text, not 72"),
    ("gsm8k_test", {"question": None, "answer": "#### 72"}, "row 1: 'question' must be text, not None"),
    ("math500_test", {"problem": "?", "solution": "", "answer": "1", "subject": "", "level": 1, "unique_id": 7},
     "row 1: 'unique_id' must be text, not 7"),
    ("math500_test", {"problem": "?", "solution": "", "answer": None, "subject": "", "level": 1, "unique_id": "a"},
     "a: 'answer' must be a text or a number, not None"),
    ("aime2024_test", {"id": 1, "problem": None, "answer": "7"}, "'problem' must be text"),
    ("humaneval", {"task_id": "a", "prompt": "", "entry_point": "f", "canonical_solution": "", "test": None},
     "'test' must be text"),
    ("mbpp", {"task_id": 11, "text": "", "code": "", "test_setup_code": "", "test_list": None,
              "challenge_test_list": []}, "mbpp row 11: 'test_list' is a list of text, not None"),
])
def test_columns_of_another_type_are_told(folder, name, row, said):
    (folder / f"{name}.jsonl").write_text(json.dumps(row))
    assert said in complaint(f"{name.removesuffix('_test')}:test")


def test_names_of_files_in_a_report():
    assert own_rows("gsm8k:test") is None
    assert set_names(["a/mine.parquet?prompt=q:test", "gym:sum:test", "gsm8k:test", "gsm8k:train"]) == {
        "a/mine.parquet?prompt=q:test": "a/mine.parquet:test", "gym:sum:test": "gym:sum", "gsm8k:test": "gsm8k",
        "gsm8k:train": "gsm8k:train"}
    # In stages of their own, too, whose numbers may come together in one table.
    assert set_names(["mine.jsonl"]).values() != set_names(["mine.jsonl:test"]).values()
    assert [*set_names(twice := ["a.jsonl?verifier=v.py:f", "a.jsonl?verifier=v.py:g"])] == twice


def test_generators_of_reasoning_gym_are_found_by_name():
    entry, split = resolve("gym:gsm_symbolic:test")
    assert (entry.name, entry.origin, split) == ("gym:gsm_symbolic", "built-in", "test")
    assert entry.source_hash()


def test_reasoning_gym_with_its_own_scorers():
    pytest.importorskip("reasoning_gym", reason="the extra gym is not installed")
    for name, wrong in (("gsm_symbolic", "-1"), ("graph_color", "{}"), ("countdown", "1")):
        problems = load(f"gym:{name}:test", 4)
        assert problems == load(f"gym:{name}:test", 6)[:4]
        assert not {p.prompt for p in load(f"gym:{name}:train", 30)} & {p.prompt for p in load(f"gym:{name}:test", 30)}
        assert grade(problems[0], Completion(f"<answer>{wrong}</answer>")).label == Label.WRONG
    import reasoning_gym

    problem = load("gym:gsm_symbolic:train", 1)[0]
    entry = reasoning_gym.create_dataset("gsm_symbolic", seed=0, size=100)[problem.answer["index"]]
    assert entry["question"] == problem.prompt
    assert grade(problem, Completion(f"<answer>{entry['answer']}</answer>")).correct
    assert "has no generator 'gsm_symbolik'; did you mean 'gsm_symbolic'?" in complaint("gym:gsm_symbolik:test")
    assert "cannot be made with its default options" in complaint("gym:composite:test")


def test_without_reasoning_gym_it_says_what_to_install():
    try:
        import reasoning_gym  # noqa: F401
    except ImportError:
        assert complaint(
            "gym:gsm_symbolic:test"
        ) == "gym:gsm_symbolic needs the package reasoning-gym: pip install 'retort[gym]'"


def test_a_whole_number_of_any_size_is_an_answer(tmp_path):
    (tmp_path / "large.jsonl").write_text(json.dumps({"prompt": "How many?", "answer": 10**400}) + "\n")
    [problem] = load("large.jsonl", base=tmp_path)
    assert grade(problem, Completion(f"\\boxed{{{10**400}}}")).label == Label.CORRECT
    assert grade(problem, Completion(f"\\boxed{{{10**400 + 1}}}")).label == Label.WRONG
