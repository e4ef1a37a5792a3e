"""Rows of verl's data sets and prompts that are messages, as they are, as problems."""

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from eval.problems import ProblemSetError, load
from eval.problems.content import content
from rewards.grade import grade
from rewards.registry import RegistryError
from rewards.rubric import Rubric
from rewards.types import Completion

SCORE = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    assert extra_info["split"] == "train" and data_source == "openai/gsm8k"
    return {"score": 1.0 if solution_str == str(ground_truth) else -1.0, "acc": solution_str == str(ground_truth)}
"""


def row(number: int, truth: object = "72", **others: object) -> dict[str, Any]:
    """As verl's `examples/data_preprocess/gsm8k.py` writes them."""
    return {
        "data_source": "openai/gsm8k", "prompt": [{"role": "user", "content": f"What is {number}?"}], "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {"split": "train", "index": number, "answer": "as it is #### 72"}, **others,
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text(SCORE)
    return tmp_path


def write(folder: Path, *rows: dict[str, Any]) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), folder / "train.parquet")


def test_verls_rows_as_they_are(folder: Path) -> None:
    write(folder, row(1), row(2, truth="7"))
    first, second = load("train.parquet")
    assert (first.id, first.prompt, first.answer, first.family) == ("train-1", "What is 1?", "72", "openai/gsm8k")
    assert (first.verifier, second.answer) == ("math", "7")
    assert first.meta["extra_info"] == {"split": "train", "index": 1, "answer": "as it is #### 72"}
    assert first.meta["prompt"] == [{"role": "user", "content": "What is 1?"}]
    assert grade(first, Completion("<answer>72</answer>")).correct
    (folder / "lines.jsonl").write_text(json.dumps(row(1)) + "\n")
    assert load("lines.jsonl")[0].meta["ability"] == "math"


def test_a_verifier_for_all_rows(folder: Path) -> None:
    write(folder, *(row(number) for number in range(30)))
    reference = "train.parquet?verifier=verl:score.py:compute_score"
    for split in ("", ":train", ":test"):
        problems = load(reference + split)
        assert {one.verifier for one in problems} == {"verl:score.py:compute_score"}
        assert grade(problems[0], Completion("72")).correct
        assert grade(problems[0], Completion("71")).reason == "score -1"
    before = content(reference, 4, 0)
    (folder / "score.py").write_text(SCORE + "# edited\n")
    assert content(reference, 4, 0) != before
    for wrong, said in (("verl:score.py:gone", "no 'gone'"), ("trl:score.py:compute_score", "write verl:score.py")):
        with pytest.raises(RegistryError, match=said):
            content(f"train.parquet?verifier={wrong}", 4, 0)


def test_functions_get_the_ground_truth_as_it_is(folder: Path) -> None:
    source = "def f(solution_str, ground_truth): return float(ground_truth == {expected!r})\n"
    for number, truth in enumerate((72, ["a", "b"], {"target": [1, 2]}, 0.5, True)):
        (folder / f"score{number}.py").write_text(source.format(expected=truth))
        write(folder, row(1, truth))
        [problem] = load(f"train.parquet?verifier=verl:score{number}.py:f")
        assert grade(problem, Completion("x")).correct, truth
        json.dumps(problem.meta)


def test_what_json_cannot_say_is_left_out(folder: Path) -> None:
    day = datetime.datetime(2025, 1, 1)
    info = {"split": "train", "when": day, "deep": {"raw": b"1", "n": 1, "share": float("nan")}}
    write(folder, row(1, made=day, raw=b"\x00", extra_info=info))
    [problem] = load("train.parquet")
    assert problem.meta["extra_info"] == {"split": "train", "deep": {"n": 1}}
    assert not {"made", "raw"} & set(problem.meta)


def test_all_columns_for_functions_of_trl(folder: Path) -> None:
    rows = [{"prompt": [{"role": "user", "content": "?"}], "solution": 5, "level": 3}]
    (folder / "mine.jsonl").write_text(json.dumps(rows[0]) + "\n")
    [problem] = load("mine.jsonl?answer=solution&meta=*")
    assert (problem.prompt, problem.answer) == ("?", "5")
    assert problem.meta == {"solution": 5, "level": 3, "prompt": rows[0]["prompt"]}
    (folder / "rewards.py").write_text(
        "def f(prompts, completions, solution, level, **kwargs):\n"
        "    assert prompts == [[{'role': 'user', 'content': '?'}]] and kwargs['answer'] == ['5'], kwargs\n"
        "    return [float(c[0]['content'] == str(s)) + n for c, s, n in zip(completions, solution, level)]\n"
    )
    rubric = Rubric.model_validate({"correct": 0, "rules": {"trl:rewards.py:f": 1}}, context={"base": folder})
    rubric.require([problem])
    completion = Completion("5")
    assert rubric.score(problem, completion, grade(problem, completion)).total == 4.0


@pytest.mark.parametrize(("prompt", "text"), [
    ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}], "Be brief.\n\nWhat?"),
    ([{"role": "system", "content": ""}, {"role": "user", "content": "What?"}], "What?"),
    ([{"role": "user", "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "at?"}]}], "What?"),
    ([{"role": "user", "content": "a\u2028b", "name": None}], "a\u2028b"), ("What?", "What?"),
])
def test_prompts(folder: Path, prompt: object, text: str) -> None:
    (folder / "mine.jsonl").write_text(json.dumps({"prompt": prompt, "answer": "5"}) + "\n")
    assert load("mine.jsonl")[0].prompt == text


@pytest.mark.parametrize(("prompt", "said"), [
    ([], "'prompt' must be text, or messages"), (["What?"], "'prompt' must be text, or messages"),
    ([{"role": "user"}], "'prompt' must be text, or messages"), ([{"role": "user", "content": 5}], "must be text, or"),
    ([{"content": "What?"}], "has turns of None"), ([{"role": "assistant", "content": "5"}], "has turns of assistant"),
    ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
     "has turns of user, assistant, user; a problem is one question of a user"),
    ([{"role": "user", "content": [{"type": "image", "image": "x"}]}], "must be text, or messages"),
    ({"role": "user", "content": "What?"}, "'prompt' must be text"), (None, "'prompt' must be text"),
    ([{"role": "user", "content": "\ud800"}], "half of a surrogate pair"),
])
def test_prompts_that_are_refused(folder: Path, prompt: object, said: str) -> None:
    (folder / "mine.jsonl").write_text(json.dumps({"prompt": prompt, "answer": "5"}) + "\n")
    with pytest.raises(ProblemSetError, match=said) as caught:
        load("mine.jsonl")
    assert str(caught.value).startswith(str(folder / "mine.jsonl:1"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("change", "said"), [
    ({"reward_model": {"style": "rule", "ground_truth": None}}, "'reward_model' has no ground_truth"),
    ({"reward_model": {"style": "model"}}, "no column 'answer'"), ({"reward_model": None}, "no column 'answer'"),
])
def test_verls_rows_that_are_refused(folder: Path, change: dict[str, Any], said: str) -> None:
    (folder / "mine.jsonl").write_text(json.dumps({**row(1), **change}) + "\n")
    with pytest.raises(ProblemSetError, match=said):
        load("mine.jsonl")


def test_other_names_for_verls_columns(folder: Path) -> None:
    write(folder, row(1, uid=41))
    [problem] = load("train.parquet?id=uid&family=ability")
    assert (problem.id, problem.family, problem.answer) == ("41", "math", "72")
    with pytest.raises(ProblemSetError, match="no column 'level'"):
        load("train.parquet?family=level")


def test_a_verifier_is_a_column_where_it_has_no_colon(folder: Path) -> None:
    row = {"prompt": "?", "answer": {"letter": "B", "choices": ["x", "y"]}, "by": "choice"}
    (folder / "mine.jsonl").write_text(json.dumps(row))
    assert load("mine.jsonl?verifier=by")[0].verifier == "choice"
