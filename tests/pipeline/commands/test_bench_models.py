"""`retort bench rollouts`, `train` and `start`: both sides write the lengths that were drawn, and what is printed is
complete."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.bench import rollouts, start, train
from pipeline.bench.rollouts import Ends
from pipeline.commands import cli

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 48, "num_attention_heads": 4, "initializer_range": 0.3,
    "moe_intermediate_size": 16, "intermediate_size": 32,
}
MEASURED = {
    "ratio", "ratio_min", "ratio_max", "tokens_per_s", "baseline_tokens_per_s", "share_of_peak", "max_logprob_error"
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models and lengths that take milliseconds."""
    torch.set_num_threads(1)
    # SFT's rows have the lengths of rollouts, too.
    for name, value in (("PROMPTS", (3, 6)), ("peak", lambda *_, **__: 1e9)):
        monkeypatch.setattr(rollouts, name, value)
    heads = {"num_key_value_heads": 2, "head_dim": 8}
    toys, smollm2 = (
        {name: replace(
            case, architecture={**case.architecture, **SMALL, **more}, rollouts=16 if case.rollouts < 128 else 24,
            mean=5.0, most=12
        ) for name, case in cases.items()}
        for cases, more in ((rollouts.TOYS, {}), (rollouts.SMOLLM2, heads))
    )
    monkeypatch.setattr(rollouts, "TOYS", toys)
    monkeypatch.setattr(rollouts, "SMOLLM2", smollm2)
    monkeypatch.setattr(rollouts, "FEW", 16)
    monkeypatch.setattr(rollouts, "CASES", {"toys": toys, "smollm2": smollm2})
    monkeypatch.setattr(rollouts, "growth", lambda: {"layers": {1: 30.0, 2: 15.0}})
    monkeypatch.setattr(train, "BATCH", 4)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.main(["bench", *words, "--rounds", "1", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("small")
def test_rollouts_are_compared_at_the_same_lengths(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "rollouts")
    assert list(found["rollouts"]) == ["qwen3_moe_64", "qwen3_moe_256", "deepseek_v3_64", "dense_64", "uniform_64"]
    for row in found["rollouts"].values():
        assert set(row) == MEASURED
        assert row["ratio_min"] <= row["ratio"] <= row["ratio_max"]
        assert row["max_logprob_error"] < 1e-4
        assert row["share_of_peak"] > 0


@pytest.mark.usefixtures("small")
def test_models_of_a_real_ones_shape_are_compared_in_both_precisions(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "rollouts", "--model", "smollm2")["rollouts"]
    assert len(found) == 8
    for name, row in found.items():
        assert row["max_logprob_error"] < (1e-4 if name.endswith("fp32") else 0.3)


@pytest.mark.usefixtures("small")
def test_growth_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "rollouts", "--rounds", "1"]) == 0
    assert f"      1       30  {'#' * 50}\n      2       15  {'#' * 25}\n" in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_training_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "train")
    assert list(found["train"]) == ["grpo_qwen3_moe", "grpo_deepseek_v3", "sft_long_tail"]
    assert all(row["seconds"] > 0 and row["baseline_seconds"] > 0 for row in found["train"].values())


@pytest.mark.usefixtures("small")
def test_training_of_models_of_a_real_ones_shape_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "train", "--model", "smollm2")["train"]
    assert list(found) == [f"{kind}_{shape}_32_{precision}" for kind in ("grpo", "sft")
                           for precision in ("fp32", "bf16") for shape in ("smollm2", "smollm2_moe")]


@pytest.mark.usefixtures("small")
def test_a_wrong_log_probability_would_be_seen() -> None:
    model = rollouts.build(rollouts.TOYS["dense_64"].architecture)
    asked, ends = rollouts.requests(8, 48, 0), Ends([5] * 8)
    drawn = rollouts.DrivenEngine(model, ends).sample(asked, rollouts.Sampling(12))
    assert rollouts.logprob_error(model, asked, ends, drawn) < 1e-4
    drawn[0][3].logprobs[2] += 0.01
    assert rollouts.logprob_error(model, asked, ends, drawn) > 0.009


def test_lengths_are_long_tailed() -> None:
    drawn = rollouts.lengths(4000, seed=0)
    assert 55 < sum(drawn) / len(drawn) < 62
    assert (min(drawn) >= 1, max(drawn)) == (True, 256)
    assert sorted(drawn)[2000] < 50


def test_starts_are_timed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "COMMANDS", {"--help": 0.3})
    row = printed(capsys, "start")["start"]["--help"]
    assert set(row) == {"median", "least", "most", "processor", "allowed"}


def test_no_rounds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "rollouts", "--rounds", "0"]) == 2
    assert "--rounds" in capsys.readouterr().err
