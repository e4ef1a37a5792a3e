"""Evaluation: the report counts the rollouts that lie beside it."""

import json
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from eval.report import reduce
from pipeline.contract.errors import StageError
from pipeline.contract.fields import marked
from pipeline.contract.stage import Asks
from pipeline.models import pretrained
from pipeline.stages.evaluate import Evaluate

Ask = Callable[[Sequence[str]], Path]


def test_the_report_counts_the_rollouts_beside_it(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    folder = ask_for(["3", "4", "3", "3"])
    (folder / "sets.py").write_text(
        "from rewards.types import Problem\n"
        "def threes(split, n, seed):\n"
        '    """Three, always."""\n'
        "    return [Problem(f't{i}', f'Tom has {i + 3} apples. He buys 2 more. How many are left?', '3', 'math', "
        "'threes') for i in range(n)]\n"
    )
    fields = {"models": ["org/zero"], "problems": ["mine.jsonl", "sets.py:threes:test"], "problems_each": 4,
              "rollouts": 2,
              "temperature": 0.0}
    ctx = context(**{"org/zero": answerer})
    metrics = Evaluate.model_validate(fields, context={"base": folder}).run(ctx)
    report = json.loads((ctx.out / "report.json").read_text())["models"]["org/zero"]
    assert set(report) == {"parameters", "sha256", "problems", "protocol", "mean"}
    told = report["protocol"]["mine.jsonl"]
    assert (told["rollouts"], told["temperature"], told["template"], told["shots"]) == (2, 0.0, "chat", 0)
    assert len(told["problems_sha256"]) == len(told["prompts_sha256"]) == 64
    assert report["problems"]["mine.jsonl"]["pass@1"] == 0.75
    assert report["problems"]["sets.py:threes"]["pass@1"] == 1.0
    assert report["mean"]["pass@1"] == pytest.approx(0.875)
    for name, numbers in report["problems"].items():
        with (ctx.out / f"org%2Fzero-{name}.jsonl").open() as file:
            assert numbers == reduce([json.loads(line) for line in file])
    assert metrics == {"models": 1, "tokens": 16 * 9}
    assert ctx.seen[-1] == (2, 2)


def test_the_best_of_several_is_told_beside_the_vote(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    folder = ask_for(["3", "4"])
    (folder / "rules.py").write_text("def brief(problem, completion):\n    return -completion.tokens\n")
    fields = {"models": ["zero"], "problems": ["mine.jsonl"], "problems_each": 2, "rollouts": 4, "temperature": 1.5,
              "max_completion_tokens": 24}
    values = {}
    for name in ("confidence", "rules.py:brief"):
        ctx = context(zero=answerer)
        stage = Evaluate.model_validate({**fields, "best_by": name}, context={"base": folder})
        assert [one.value for one in marked(stage) if one.where == ("best_by",)] == [name] * (name != "confidence")
        stage.run(ctx)
        report = json.loads((ctx.out / "report.json").read_text())["models"]["zero"]
        rows = [json.loads(line) for line in (ctx.out / "zero-mine.jsonl.jsonl").read_text().splitlines()]
        values[name] = [row["best_by"] for row in rows]
        numbers, told = report["problems"]["mine.jsonl"], report["protocol"]["mine.jsonl"]
        assert numbers == reduce(rows)
        assert {"pass@1", "maj@4", "best@4", "best@4_ci95"} < set(numbers)
        assert told["best_by"] == name
        assert values["rules.py:brief"] == [-row["tokens"] for row in rows] if name != "confidence" else True
    assert all(value < 0 for value in values["confidence"])
    assert len(set(values["confidence"])) > 2


@pytest.mark.parametrize(("changed", "said"), [
    ({"best_by": "formt"}, "best_by: there is no rule called 'formt'; did you mean 'format'"),
    ({"best_by": "format", "rollouts": 1}, "best_by chooses among the rollouts of a problem, and there is one"),
    ({"models": ["sft", "sft-long"], "problems": ["long-math.jsonl", "math.jsonl"]},
     "two pairs of a model and a problem set would both be called sft-long-math.jsonl"),
])
def test_a_choice_that_cannot_be_made_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Evaluate.model_validate({"models": ["zero"], "problems": ["word_problems:test"], **changed})


def test_a_model_can_be_measured_in_another_precision(
    answerer: Path, ask_for: Ask, context: Callable[..., Any]
) -> None:
    folder = ask_for(["3", "4"])
    fields = {"models": ["zero"], "problems": ["mine.jsonl"], "problems_each": 2, "rollouts": 2, "dtype": "bfloat16"}
    ctx = context(zero=answerer)
    Evaluate.model_validate(fields, context={"base": folder}).run(ctx)
    report = json.loads((ctx.out / "report.json").read_text())["models"]["zero"]
    assert report["dtype"] == "bfloat16"
    assert report["problems"]["mine.jsonl"]["pass@1"] == pytest.approx(0.5, abs=0.3)


def test_a_model_is_gone_before_the_next_is_loaded(
    answerer: Path, ask_for: Ask, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[weakref.ref[Any]] = []
    take = pretrained.take

    def taken(*args: Any) -> Any:
        assert not [model for model in loaded if model() is not None]
        found = take(*args)
        loaded.append(weakref.ref(found[0]))
        return found

    monkeypatch.setattr(pretrained, "take", taken)
    fields = {"models": ["zero", "r1"], "problems": ["mine.jsonl"], "problems_each": 2, "rollouts": 1}
    Evaluate.model_validate(fields, context={"base": ask_for(["3", "4"])}).run(context(zero=answerer, r1=answerer))
    assert len(loaded) == 2


def test_earlier_reports_are_taken_in(answerer: Path, ask_for: Ask, context: Callable[..., Any]) -> None:
    folder = ask_for(["3", "4"])
    fields: dict[str, Any] = {"problems": ["mine.jsonl"], "problems_each": 2, "rollouts": 1, "temperature": 0.0}
    first = context(zero=answerer)
    Evaluate.model_validate({**fields, "models": ["zero"]}, context={"base": folder}).run(first)
    second = context(r1=answerer, score=first.out)
    Evaluate.model_validate({**fields, "models": ["r1"], "reports": ["score"]}, context={"base": folder}).run(second)
    models = json.loads((second.out / "report.json").read_text())["models"]
    assert list(models) == ["zero", "r1"]
    assert models["zero"] == json.loads((first.out / "report.json").read_text())["models"]["zero"]


def test_two_models_of_one_name_are_not_one(
    answerer: Path, ask_for: Ask, context: Callable[..., Any], tmp_path: Path
) -> None:
    folder = ask_for(["3", "4"])
    fields: dict[str, Any] = {"models": ["zero"], "problems": ["mine.jsonl"], "problems_each": 2, "rollouts": 1}
    first = context(zero=answerer)
    Evaluate.model_validate(fields, context={"base": folder}).run(first)
    model, tokenizer = pretrained.load(answerer)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(2)
    pretrained.save(model, tokenizer, tmp_path / "another")
    second = context(zero=tmp_path / "another", old=first.out)
    with pytest.raises(StageError, match="zero of another report is another model than zero here"):
        Evaluate.model_validate({**fields, "reports": ["old"]}, context={"base": folder}).run(second)
    third = context(zero=tmp_path / "another")
    Evaluate.model_validate(fields, context={"base": folder}).run(third)
    both = context(old=first.out, new=third.out)
    with pytest.raises(StageError, match="zero of another report is another model than zero here"):
        Evaluate.model_validate({**fields, "models": [], "reports": ["old", "new"]}, context={"base": folder}).run(both)


def test_two_splits_of_one_set_and_earlier_sets_of_one_model_are_all_kept(
    answerer: Path, ask_for: Ask, context: Callable[..., Any]
) -> None:
    folder = ask_for(["3", "4"])
    common: dict[str, Any] = {"models": ["zero"], "rollouts": 1, "temperature": 0.0, "problems_each": 2}
    first = context(zero=answerer)
    Evaluate.model_validate({**common, "problems": ["mine.jsonl"]}, context={"base": folder}).run(first)
    second = context(zero=answerer, score=first.out)
    fields = {**common, "problems": ["word_problems:train", "word_problems:test"], "reports": ["score"]}
    Evaluate.model_validate(fields, context={"base": folder}).run(second)
    report = json.loads((second.out / "report.json").read_text())["models"]["zero"]
    assert list(report["problems"]) == ["mine.jsonl", "word_problems:train", "word_problems"]
    assert report["mean"]["sets"] == list(report["problems"])
    assert {path.name for path in second.out.glob("*.jsonl")} == {
        "zero-word_problems:train.jsonl", "zero-word_problems.jsonl"
    }
    # Two reports of one model, each on other sets, are one report of all of them.
    third = context(one=first.out, two=second.out)
    only = {**common, "models": [], "problems": ["mine.jsonl"], "reports": ["one", "two"]}
    Evaluate.model_validate(only, context={"base": folder}).run(third)
    assert json.loads((third.out / "report.json").read_text())["models"]["zero"]["problems"] == report["problems"]


def test_what_an_earlier_report_says_of_efforts_stays(
    answerer: Path, ask_for: Ask, context: Callable[..., Any]
) -> None:
    folder = ask_for(["3", "4"])
    common: dict[str, Any] = {"models": ["zero"], "problems": ["mine.jsonl"], "rollouts": 1, "problems_each": 2}
    first = context(zero=answerer)
    Evaluate.model_validate({**common, "effort": ["low", "high"]}, context={"base": folder}).run(first)
    asked = json.loads((first.out / "report.json").read_text())["models"]["zero"]
    second = context(zero=answerer, score=first.out)
    Evaluate.model_validate({**common, "reports": ["score"]}, context={"base": folder}).run(second)
    report = json.loads((second.out / "report.json").read_text())["models"]["zero"]
    assert report["efforts"] == asked["efforts"]
    assert "mean" not in report  # which would be one of ways
    assert len(report["problems"]) == len(asked["problems"]) + 1


def test_worked_examples_are_part_of_what_is_asked() -> None:
    fields = {"models": ["zero"], "problems": ["word_problems:test"], "problems_each": 4}
    assert Evaluate.model_validate(fields).asks(0) == [Asks("word_problems:test", 4, 0, "test")]
    assert Evaluate.model_validate({**fields, "prompt": {"shots": 2}}).asks(0) == [
        Asks("word_problems:test", 4, 0, "test"), Asks("word_problems:train", 2, 0, "shown"),
    ]
