"""sft, distill and extend on rows of a file: what fits is learned, what cannot fit is one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoConfig, AutoModelForCausalLM

from pipeline.contract.errors import StageError
from pipeline.contract.fields import Input, marked
from pipeline.models import pretrained
from pipeline.models.lora import Lora
from pipeline.stage import Stage
from pipeline.stages.distill import Distill
from pipeline.stages.extend import Extend
from pipeline.stages.sample import Sample
from pipeline.stages.sft import Sft
from pipeline.training.fp8.section import Fp8

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


TALK = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "<answer>3</answer>"}]


@pytest.mark.parametrize("stage", [
    Sft(model="base", data="rows?messages=talk&completion=none", bad_rows="drop"),
    Sft(model="base", data="rows?messages=talk"),
    Distill(student="base", traces="rows?messages=talk", batch_size=2, bad_rows="drop", too_long="cut", max_length=20),
    Extend(model="base", data="rows?messages=talk", batch_size=2, bad_rows="drop", too_long="cut",
           phases=[{"length": 20, "steps": 2}]),  # type: ignore[list-item]
])
def test_conversations_are_learned_and_bad_rows_counted(
    answerer: Path, data: Path, context: Callable[..., Any], stage: Any
) -> None:
    reference = str(stage.traces if isinstance(stage, Distill) else stage.data)
    long = [TALK[0], {"role": "assistant", "content": "<answer>3</answer>" * 9}, *TALK]
    rows = [{"talk": TALK}, {"talk": TALK[:1]}, {"talk": [{"role": "bot"}]}, {"talk": long}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ctx = context(**{"base": answerer, reference: data})
    if "none" in reference:
        with pytest.raises(StageError, match=r"no row of .* can be used, such as .*:1: there is no column 'none'"):
            stage.run(ctx)
    elif stage.bad_rows == "stop":
        with pytest.raises(StageError, match=r":2: no message is the assistant's, .*\(bad_rows: drop leaves"):
            stage.run(ctx)
    else:
        metrics = stage.run(ctx)
        assert {key: metrics.get(key) for key in ("dropped/no assistant", "dropped/role", "cut")} == {
            "dropped/no assistant": 1, "dropped/role": 1, "cut": 1
        }
        assert ctx.notes[:2] == [
            f"2 of 4 rows are bad, left out, such as {data}:2: no message is the assistant's, so that there is nothing "
            "to learn", "1 of 2 rows are longer than 20 tokens, cut"
        ]


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


def test_a_model_with_learned_positions_reads_no_longer_text_before_it_is_refused(
    answerer: Path, context: Callable[..., Any], tmp_path: Path
) -> None:
    _, tokenizer = pretrained.load(answerer)
    config = AutoConfig.for_model(
        "gpt2", vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=64  # type: ignore[arg-type]
    )
    pretrained.save(AutoModelForCausalLM.from_config(config), tokenizer, tmp_path / "learned")
    (tmp_path / "long.jsonl").write_text(json.dumps({"text": PROMPT * 20}) + "\n")
    stage = Extend(model="base", data="rows", batch_size=1, phases=[{"length": 512, "steps": 1}])  # type: ignore[list-item]
    with pytest.raises(StageError, match="learn a vector for each position"):
        stage.run(context(base=tmp_path / "learned", rows=tmp_path / "long.jsonl"))


def test_adapters_on_half_precision_are_the_model_with_its_base(
    answerer: Path, data: Path, context: Callable[..., Any]
) -> None:
    """Adapters are in full precision beside weights in half; what is saved is compared bit by bit."""
    ctx = context(base=answerer, rows=data)
    stage = Sft(model="base", data="rows", batch_size=4, dtype="bfloat16", learning_rate=1e-2, lora=Lora(rank=2))
    stage.run(ctx)
    assert str(pretrained.load(ctx.out)[0].dtype) == "torch.bfloat16"
    assert (ctx.out / "adapter" / "adapter_model.safetensors").is_file()


def test_a_model_that_was_given_is_told_what_it_is_trained_by(
    answerer: Path, data: Path, context: Callable[..., Any], tmp_path: Path
) -> None:
    given = tmp_path / "given"
    shutil.copytree(answerer, given)
    config = given / "model" / "config.json"
    fields = json.loads(config.read_text())
    del fields["retort_from_scratch"]
    config.write_text(json.dumps(fields))
    ctx = context(base=given, rows=data)
    Sft(model="base", data="rows", batch_size=4, max_length=32).run(ctx)
    assert ctx.notes[0].startswith("takes base: qwen3, ")
    assert ctx.notes[-1] == "trains by adamw at 2e-05"


MIX: dict[str, Any] = {
    "data": {"general": "rows", "math": "more"}, "batch_size": 4, "epochs": 2,
    "mix": [{"until": 0.6, "weights": {"general": 3, "math": 1}}, {"until": 1.0, "weights": {"math": 1}}],
}


@pytest.fixture
def more(tmp_path: Path) -> Path:
    file = tmp_path / "more.jsonl"
    file.write_text("".join(json.dumps({"prompt": PROMPT, "completion": f"{i}"}) + "\n" for i in range(5)))
    return file


def test_several_datasets_are_mixed_by_phase(
    answerer: Path, data: Path, more: Path, context: Callable[..., Any]
) -> None:
    stage = Sft.model_validate({"model": "base", "max_length": 32, **MIX})
    runs = [context(seed, base=answerer, rows=data, more=more) for seed in (1, 1, 2)]
    metrics = [stage.run(ctx) for ctx in runs]
    # Eleven rows that fit, twice, are 22, and 6 steps of 4: 4 steps of 12 and 4 rows, then 2 steps of 8.
    drawn = {"steps": 6, "rows": 11, "drawn/general": 12, "drawn/math": 12, "dropped/too long": 1}
    assert {name: metrics[0].get(name) for name in drawn} == drawn
    assert metrics[0]["drawn_tokens/general"] + metrics[0]["drawn_tokens/math"] == metrics[0]["tokens"]
    assert runs[0].notes[-1] == "rows of the mix: to step 4 general 12, math 4; to step 6 math 8"
    first, second, other = ((ctx.out / "model" / "model.safetensors").read_bytes() for ctx in runs)
    assert first == second != other


def test_a_mix_that_was_cut_off_ends_with_the_same_bytes(
    answerer: Path, data: Path, more: Path, whole_and_cut: Callable[..., tuple[bytes, bytes]]
) -> None:
    stage = Sft.model_validate({"model": "base", "max_length": 32, **MIX})
    whole, cut = whole_and_cut(stage, every=3, at=5, base=answerer, rows=data, more=more)
    assert whole == cut


@pytest.mark.parametrize(("changed", "said"), [
    ({"data": "rows"}, "mix is for several datasets"),
    ({"mix": []}, "several datasets need a mix"),
    ({"mix": [{"until": 0.5, "weights": {"general": 1, "math": 1}}]}, "1.0 in the last"),
])
def test_a_mix_that_does_not_fit_is_refused_when_the_recipe_is_read(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Sft.model_validate({"model": "base", **MIX, **changed})


def test_each_dataset_of_a_mix_is_an_input_and_its_work_is_known() -> None:
    stage = Sft.model_validate({"model": "base", **MIX})
    assert {(mark.value, mark.where) for mark in marked(stage) if mark.mark == Input("dataset")} == {
        ("rows", ("data", "general")), ("more", ("data", "math"))
    }
    [trained] = stage.work().trained
    assert trained.data is None
    assert trained.shares == pytest.approx({"rows": 0.45, "more": 0.55})


def test_products_of_eight_bits_are_part_of_what_is_learned(
    answerer: Path, data: Path, context: Callable[..., Any]
) -> None:
    fields: dict[str, Any] = {"model": "base", "data": "rows", "batch_size": 4, "max_length": 32, "epochs": 1}
    made = []
    for fp8 in (None, {}, {"accumulation": "fp32", "backward": "e5m2", "stochastic_rounding": True}):
        ctx = context(base=answerer, rows=data)
        Sft(**fields, fp8=fp8).run(ctx)
        made.append((ctx.out / "model" / "model.safetensors").read_bytes())
    assert len(set(made)) == 3
    phases: Any = [{"length": 128, "steps": 2}]
    assert Extend(model="base", data="rows", phases=phases, fp8={})._plan().fp8 == Fp8()  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="leave it or lora out"):
        Sft(**fields, fp8={}, lora={})


def test_a_module_that_predicts_ahead_is_trained_or_goes_along(
    answerer: Path, data: Path, context: Callable[..., Any]
) -> None:
    fields: dict[str, Any] = {"model": "base", "data": "rows", "batch_size": 4, "max_length": 32}
    first = context(base=answerer, rows=data)
    metrics = Sft(**fields, mtp={}).run(first)
    assert "mtp.safetensors" not in {file.name for file in (first.out / "model").iterdir()}
    trained = (first.out / "mtp.safetensors").read_bytes()
    assert metrics["steps"] == 3
    again, along = (context(base=first.out, rows=data) for _ in range(2))
    Sft(**fields).run(along)
    assert (along.out / "mtp.safetensors").read_bytes() == trained
    assert any("MTP module goes along as it is" in note for note in along.notes)
    Sft(**fields, mtp={}).run(again)
    assert (again.out / "mtp.safetensors").read_bytes() != trained
    asked = Sample.model_validate({"model": "base", "problems": ["word_problems:train"], "problems_each": 2,
                                   "rollouts": 2, "speculate": "mtp"})
    drafted = context(base=again.out)
    asked.run(drafted)
    assert any(note.startswith("speculation: ") for note in drafted.notes)
    with pytest.raises(ValidationError, match="leave it or lora out"):
        Sft(**fields, mtp={}, lora={})
