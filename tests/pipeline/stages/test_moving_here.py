"""A team that has verl's parquet and function, or trl's, and nothing else: train, sample and evaluate with them as they
are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from pipeline.contract.errors import StageError
from pipeline.stages.evaluate import Evaluate
from pipeline.stages.grpo import Grpo
from pipeline.stages.sample import Sample
from rewards.grade import VERIFIERS
from rewards.rubric import RubricError
from tests.pipeline.stages.conftest import PROMPTS

SCORE = '''
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """The last number in tags counts."""
    said = solution_str.rpartition("<answer>")[2].partition("</answer>")[0]
    assert extra_info["index"] >= 0 and data_source == "words"
    return {"score": 10.0 if said == ground_truth else -10.0, "acc": said == ground_truth, "pred": said}

def different(prompts, completions, completion_ids, solution, trainer_state, **kwargs):
    """Texts that no other of the group has: it needs to see the group."""
    assert len(completions) == 4 and len(set(prompts)) == 1, (len(completions), prompts)
    assert solution[0] in "34" and all(completion_ids)
    return [float(completions.count(one) == 1) if trainer_state.global_step else None for one in completions]
'''
PROBLEMS = "train.parquet?verifier=verl:score.py:compute_score"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "score.py").write_text(SCORE)
    rows = [
        {"data_source": "words", "prompt": [{"role": "user", "content": prompt}], "ability": "math",
         "reward_model": {"style": "rule", "ground_truth": "34"[number % 2]},
         "extra_info": {"split": "train", "index": number}}
        for number, prompt in enumerate(PROMPTS[:8])
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "train.parquet")
    monkeypatch.setattr(VERIFIERS, "folder", tmp_path)  # as the process of a stage has it
    return tmp_path


def grpo(folder: Path, **changed: object) -> Grpo:
    fields = {"model": "base", "problems": [PROBLEMS], "problems_each": 8, "steps": 2, "prompts_per_step": 2,
              "group_size": 4, "gate": 4, "max_completion_tokens": 16, "temperature": 1.6}
    return Grpo.model_validate({**fields, **changed}, context={"base": folder})


def test_with_what_verl_has(answerer: Path, folder: Path, context: Callable[..., Any]) -> None:
    ctx = context(base=answerer)
    metrics = grpo(folder).run(ctx)
    assert 0.0 < metrics["before/pass@1"] < 1.0
    rows = [row for row in ctx.rows if "reward" in row]
    assert any(0 < row["verdict/correct"] < 1 for row in rows if "verdict/correct" in row)

    ctx = context(base=answerer)
    fields = {"model": "base", "problems_each": 8, "rollouts": 2, "max_completion_tokens": 24, "temperature": 0.0}
    sample = Sample.model_validate({**fields, "problems": [PROBLEMS], "format": False}, context={"base": folder})
    assert sample.run(ctx)["kept"] == 4  # the model says 3 to everything
    kept = [json.loads(line) for line in (ctx.out / "data.jsonl").read_text().splitlines()]
    assert {row["family"] for row in kept} == {"words"}

    ctx = context(base=answerer)
    evaluate = Evaluate.model_validate(
        {"models": ["base"], "problems": [PROBLEMS], "problems_each": 8, "rollouts": 1, "max_completion_tokens": 24,
         "temperature": 0.0}, context={"base": folder}
    )
    evaluate.run(ctx)
    report = json.loads((ctx.out / "report.json").read_text())["models"]["base"]
    [problems] = report["problems"].values()
    assert problems["pass@1"] == 0.5
    [protocol] = report["protocol"].values()
    assert set(protocol["verifiers_sha256"]) == {"verl:score.py:compute_score"}


def test_functions_alone_are_the_reward(answerer: Path, folder: Path, context: Callable[..., Any]) -> None:
    rules = {"verl:score.py:compute_score": 1.0, "trl:score.py:different": {"weight": 0.5, "conversational": False}}
    stage = grpo(folder, problems=["train.parquet"], reward={"correct": 0, "rules": rules}, gate_at_least=1.0)
    runs = [context(base=answerer) for _ in range(2)]
    for ctx in runs:
        stage.run(ctx)  # the gate, which asks for verdicts, is not asked
    first, second = ([row for row in ctx.rows if "reward" in row] for ctx in runs)
    assert first == second
    assert {"reward/compute_score", "reward/compute_score/acc", "reward/compute_score/least"} <= set(first[1])
    assert "reward/different" not in first[0]  # None in the first round
    assert first[1]["reward/compute_score/least"] == -10.0
    notes = "\n".join(runs[0].notes)
    assert "rewards seen so far: compute_score -10 to 10 (weight 1), different 0 to 1 (weight 0.5)" in notes
    assert "compute_score outweighs the rest of the reward: from -10 to 10" in notes


def test_a_column_that_is_missing_stops_it_before_it_draws(
    answerer: Path, folder: Path, context: Callable[..., Any]
) -> None:
    (folder / "score.py").write_text("def f(completions, level): return [1.0 for _ in completions]\n")
    stage = grpo(folder, problems=["train.parquet"], reward={"correct": 0, "rules": {"trl:score.py:f": 1}})
    ctx = context(base=answerer)
    with pytest.raises((RubricError, StageError), match="needs the column 'level'"):
        stage.run(ctx)
    assert ctx.rows == []
