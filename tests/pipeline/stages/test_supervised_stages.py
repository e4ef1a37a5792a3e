"""sft, distill and extend on rows of a file: what fits is learned, what cannot fit is one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.contract.errors import StageError
from pipeline.models import pretrained
from pipeline.stage import Stage
from pipeline.stages.distill import Distill
from pipeline.stages.extend import Extend
from pipeline.stages.sft import Sft

PROMPT = "Tom has 3 apples."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [{"prompt": PROMPT, "completion": f"<think>So {i}.</think><answer>{i}</answer>"} for i in range(6)]
    rows.append({"prompt": PROMPT * 20, "completion": "3"})
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("stage", [
    Sft(model="base", data="rows", epochs=2, batch_size=4, max_length=32),
    Distill(student="base", traces="rows", epochs=2, batch_size=4, max_length=32),
])
def test_rows_that_fit_are_learned(answerer: Path, data: Path, context: Callable[..., Any], stage: Any) -> None:
    runs = [context(seed, base=answerer, rows=data) for seed in (1, 1, 2)]
    metrics = [stage.run(ctx) for ctx in runs]
    assert (metrics[0]["rows"], metrics[0]["steps"]) == (6, 3)
    assert runs[0].notes == ["1 of 7 rows are longer than 32 tokens, left out"]
    first, second, other = ((ctx.out / "model" / "model.safetensors").read_bytes() for ctx in runs)
    assert first == second != other
    assert pretrained.load(runs[0].out)[1].chat_template


@pytest.mark.parametrize("stage", [
    Sft(model="base", data="rows", max_length=8),
    Extend.model_validate({"model": "base", "data": "rows", "phases": [{"length": 16, "steps": 1}]}),
])
def test_rows_that_are_all_too_long_are_one_line(
    answerer: Path, data: Path, context: Callable[..., Any], stage: Stage
) -> None:
    data.write_text(data.read_text().splitlines()[-1])
    with pytest.raises(StageError, match=r"tokens long$"):
        stage.run(context(base=answerer, rows=data))


def test_a_context_is_extended_on_ones_own_texts(answerer: Path, data: Path, context: Callable[..., Any]) -> None:
    ctx = context(base=answerer, rows=data)
    scaling = {"rope_type": "yarn", "factor": 2.0, "beta_fast": 4.0, "beta_slow": 1.0, "truncate": False}
    stage = Extend(model="base", data="rows", scaling=scaling, batch_size=2,
                   phases=[{"length": 128, "steps": 2}, {"length": 192, "steps": 2}])  # type: ignore[list-item]
    metrics = stage.run(ctx)
    model, tokenizer = pretrained.load(ctx.out)
    assert model.config.max_position_embeddings == tokenizer.model_max_length == metrics["length"] == 192
    assert model.config.rope_parameters["rope_type"] == "yarn"
    assert set(metrics["loss_by_position"]) == {"before", "after"}
    assert ctx.notes == ["phase 1 of 2: up to 128 tokens", "phase 2 of 2: up to 192 tokens"]
