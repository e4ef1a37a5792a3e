import sys
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipeline.contract.fields import outside_fingerprint
from pipeline.serving.section import Vllm, missing
from pipeline.stages.evaluate import Evaluate
from pipeline.stages.grpo import Grpo
from pipeline.stages.sample import Sample

SOME = {"model": "base", "problems": ["word_problems:train"], "steps": 1}
URL = {"url": "http://localhost:8000"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_server_that_is_started_where_there_is_no_gpu_reads_prompts_whole() -> None:
    assert Vllm(python="python").serving("float32", experts=False).on_processors
    assert not Vllm(python="python", devices="1").serving("float32", experts=False).on_processors


def test_without_vllm_a_recipe_that_asks_for_it_here_is_one_line() -> None:
    if missing() is None:
        pytest.skip("vLLM is installed here")
    with pytest.raises(ValidationError, match="the package vllm is not installed: give a server"):
        Grpo(**SOME, engine="vllm")


@pytest.mark.parametrize(("fields", "expected"), [
    ({"engine": "vllm", "replay": "rollout"}, "does not tell which experts it took"),
    ({"engine": "vllm", "rollout_dtype": "bfloat16"}, "is for a server that the stage starts"),
    ({"engine": "vllm", "rollout_dtype": "bfloat16", "vllm": URL}, "is for a server that the stage starts"),
    ({"engine": "vllm", "speculate": "lookup", "vllm": URL}, "speculate is for engine: native"),
    ({"speculate": "mtp", "rollout_dtype": "bfloat16"}, "leave rollout_dtype out, or speculate"),
    ({"vllm": {"gpu_memory": 0.5}}, "a vllm section is for engine: vllm"),
    ({"engine": "vllm", "vllm": {**URL, "python": sys.executable}}, "leave one of them out"),
    ({"engine": "vllm", "vllm": {**URL, "devices": "4"}}, "devices are those of a server that the stage starts"),
    ({"engine": "vllm", "vllm": {"url": "localhost:8000"}}, "match pattern"),
])
def test_what_does_not_go_together_is_told(
    fields: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.stages.grpo.missing", lambda: None)
    with pytest.raises(ValidationError, match=expected):
        Grpo(**SOME, **fields)


def test_with_vllm_replay_is_the_policys_where_nothing_is_said() -> None:
    assert Grpo(**SOME, engine="vllm", vllm=URL)._replay == "policy"
    assert Grpo(**SOME, engine="vllm", vllm=URL, replay="rollout")._replay == "rollout"
    assert Grpo(**SOME, engine="vllm", vllm=URL, replay="off")._replay is None
    assert Grpo(**SOME)._replay == "rollout"


def test_sample_and_evaluate_need_a_server() -> None:
    for made in (lambda **more: Sample(model="m", problems=["word_problems:train"], **more),
                 lambda **more: Evaluate(models=["m"], problems=["word_problems:test"], **more)):
        with pytest.raises(ValidationError, match="engine vllm needs a server"):
            made(engine="vllm")
        assert made(engine="vllm", vllm=URL).vllm == Vllm(**URL)


def test_where_a_server_is_changes_no_result() -> None:
    for stage in (Grpo, Sample, Evaluate):
        assert "vllm" in outside_fingerprint(stage)


@pytest.mark.parametrize(("vllm", "share"), [
    ({}, 0.3), ({"python": sys.executable, "gpu_memory": 0.5}, 0.5), (URL, 0.0),
    ({"python": sys.executable, "devices": "4"}, 0.0),
])
def test_a_plan_knows_what_vllm_takes_of_the_trainings_gpu(
    vllm: dict[str, Any], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.stages.grpo.missing", lambda: None)
    by = [drawn.vllm for drawn in Grpo(**SOME, engine="vllm", vllm=vllm).work().drawn if drawn.trained]
    assert [found and found.besides for found in by] == [share]
    assert [drawn.vllm for drawn in Grpo(**SOME).work().drawn] == [None, None]


def test_a_plan_does_not_reckon_what_a_server_draws() -> None:
    for stage in (Sample(model="m", problems=["word_problems:train"], engine="vllm", vllm=URL),
                  Evaluate(models=["m"], problems=["word_problems:test"], engine="vllm", vllm=URL)):
        assert [drawn.vllm and drawn.vllm.where for drawn in stage.work().drawn] == ["given"]
