"""Recipes reckoned whole: what is known of each stage, and what is said where nothing is."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from pipeline.costs import lengths
from pipeline.costs.assumptions import Assumptions
from pipeline.costs.devices import DEVICES, GIB, Device
from pipeline.costs.estimate import Estimate, estimates
from pipeline.costs.hours import forward
from pipeline.costs.remedies import remedies
from pipeline.costs.table import lines, rows
from pipeline.recipe import recipe

Write = Callable[..., Path]
ASSUMED = Assumptions(2.0, 0.4, 0.25, 0.3, GIB)
BASE = """
  base:
    kind: pretrain
    steps: 10
    length: 128
    optimizer: {name: adamw}
    architecture: {model_type: llama, hidden_size: 32, num_hidden_layers: 2, intermediate_size: 64,
                   num_attention_heads: 4, num_key_value_heads: 2}
"""


def _of(path: Path, device: Device = DEVICES["h100"]) -> dict[str, Estimate]:
    read = recipe.read(str(path), resolve_hub=lambda _: "")
    return {one.step.name: one for one in estimates(read, device, ASSUMED)}


def test_every_kind_of_stage_says_what_it_computes(write_recipe: Write) -> None:
    found = _of(write_recipe(f"""
name: every
stages:{BASE}
  long: {{kind: extend, model: base, phases: [{{length: 152, steps: 4}}, {{length: 304, steps: 2}}]}}
  moe: {{kind: upcycle, model: long, experts: 4, top_k: 2, dtype: bfloat16}}
  zero: {{kind: grpo, model: moe, problems: [word_problems:train], steps: 3, beta: 0.1}}
  traces: {{kind: sample, model: zero, problems: [word_problems:train], problems_each: 64}}
  cold: {{kind: sft, model: base, data: traces, lora: {{rank: 4}}}}
  student: {{kind: distill, student: base, traces: traces}}
  score: {{kind: evaluate, models: [base, cold], problems: [word_problems:test], problems_each: 20}}
"""))
    assert {name: one.said for name, one in found.items() if one.said} == {}
    assert all(one.fits and one.largest for one in found.values())
    assert all(one.effort.flops > 0 and one.hours > 0 for name, one in found.items() if name != "moe")
    shapes = {name: one.shape for name, one in found.items() if one.shape}
    assert shapes["moe"].share == 0.5
    assert (shapes["zero"].dtype, shapes["zero"].parameters) == ("bfloat16", shapes["moe"].parameters)
    assert shapes["long"].parameters == shapes["base"].parameters < shapes["moe"].parameters
    assert found["base"].effort.tokens == 10 * 32 * 128 * ASSUMED.filled
    assert set(found["zero"].phases) == {"training", "drawing"}


def test_a_mix_is_reckoned_by_its_shares(write_recipe: Write, tmp_path: Path) -> None:
    for name, count, words in (("short", 30, 4), ("long", 10, 40)):
        rows = [{"prompt": "one", "completion": "word " * words} for _ in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = "kind: sft, model: base, batch_size: 4, epochs: 2"
    found = _of(write_recipe(f"""
name: mixed
stages:{BASE}
  short: {{{common}, data: short.jsonl}}
  long: {{{common}, data: long.jsonl}}
  both: {{{common}, data: {{a: short.jsonl, b: long.jsonl}}, mix: [{{until: 0.5, weights: {{a: 1}}}},
          {{until: 1.0, weights: {{a: 1, b: 1}}}}]}}
"""))
    tokens = {name: found[name].effort.tokens for name in ("short", "long", "both")}
    # 80 rows of both, of which three quarters are short.
    assert tokens["both"] == pytest.approx(80 * (0.75 * tokens["short"] / 60 + 0.25 * tokens["long"] / 20))


def test_teachers_read_every_trace_once_in_one_process(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text((json.dumps({"prompt": "a" * 80, "completion": "b" * 119}) + "\n") * 60)
    (tmp_path / "two.yaml").write_text("distributed_type: MULTI_GPU\nnum_processes: 2\n")
    text = f"""
name: taught
stages:{BASE}
  moe: {{kind: upcycle, model: base, experts: 8, top_k: 2}}
  alone: {{kind: distill, student: base, traces: rows.jsonl}}
  logits: {{kind: distill, student: base, traces: rows.jsonl, method: logits, teacher: moe}}
  few: {{kind: distill, student: base, traces: rows.jsonl, method: logits, teacher: moe, epochs: 0.5, batch_size: 10}}
  both: {{kind: distill, student: base, traces: rows.jsonl, method: ensemble, teachers: [moe, moe]}}
  each: {{kind: distill, student: base, traces: [rows.jsonl, rows.jsonl], method: ensemble, teachers: [moe, moe]}}
"""
    found = _of(write_recipe(text))
    assert all(not one.said for one in found.values())
    teacher = found["moe"].shape
    assert teacher
    read = 60 * 50 * forward(teacher, 25)
    more = {name: one.effort.flops - found["alone"].effort.flops for name, one in found.items()}
    assert (more["logits"], more["both"]) == (pytest.approx(read), pytest.approx(2 * read))
    assert found["few"].effort.tokens == 60 * 50 * 0.5 * 2
    read_by = {name: one.phases["reading"] for name, one in found.items() if "reading" in one.phases}
    held = {name: one.peak - one.besides for name, one in read_by.items()}
    assert set(held) == {"logits", "few", "both", "each"}
    assert held["logits"] == held["each"] == held["both"] - teacher.weights > teacher.weights
    both = found["both"].phases
    tight = Device("tight", int((both["reading"].peak + both["training"].peak) / 2), 1e12, 1e12, 1e12, 1.0)
    assert both["reading"].peak > both["training"].peak
    assert remedies(replace(found["both"], setting=replace(found["both"].setting, device=tight))) == []
    shared = _of(write_recipe(text.replace("stages:", "accelerate: two.yaml\nstages:", 1)))
    seconds = [one["logits"].effort.seconds - one["alone"].effort.seconds for one in (found, shared)]
    assert seconds[0] == pytest.approx(seconds[1])
    assert seconds[0] > 0


def test_a_stage_that_vllm_draws_has_its_hours_and_money_in_its_row(write_recipe: Write) -> None:
    found = _of(write_recipe(f"""
name: drawn
stages:{BASE}
  traces: {{kind: sample, model: base, problems: [word_problems:train], problems_each: 64, engine: vllm,
           vllm: {{python: /opt/vllm/bin/python, tensor_parallel: 2}}}}
"""))
    base, traces, every = rows([*found.values()], 2)
    assert traces[5:13] == ("-",) * 8
    assert "-" not in (*base, *traces[2:5], *traces[13:], *every[13:])


def test_what_is_not_known_is_said(write_recipe: Write) -> None:
    found = _of(write_recipe(f"""
name: unknown
stages:{BASE}
  own: {{kind: tiny.py:Make}}
  after: {{kind: evaluate, models: [own], problems: [word_problems:test]}}
  hub: {{kind: evaluate, models: [Nobody/Nothing], problems: [word_problems:test]}}
  rows: {{kind: sft, model: base, data: Nobody/Rows}}
"""))
    assert found["own"].said == "not known: tiny.py:Make does not say what it computes"
    assert found["after"].said == "not known: tiny.py:Make does not say what model it makes"
    assert "'Nobody/Nothing' is not in the hub cache" in found["hub"].said
    assert "\n" not in found["hub"].said
    assert found["rows"].said == "not known: the rows of Nobody/Rows are on the hub, and are not read for a plan; " \
                                 "give a local copy"
    assert not found["base"].said


def test_rows_of_a_file_are_counted(write_recipe: Write, tmp_path: Path) -> None:
    rows = [{"prompt": "a" * 80, "completion": "b" * 120}] * 50
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = _of(write_recipe(f"""
name: files
stages:{BASE}
  tuned: {{kind: sft, model: base, data: rows.jsonl, epochs: 2, batch_size: 10}}
  few: {{kind: sft, model: base, data: rows.jsonl, epochs: 2, batch_size: 10, limit: 20}}
"""))
    # A token has four characters where the model's tokenizer is not there yet, and a word is one at least.
    assert found["tuned"].effort.tokens == pytest.approx(100 * 201 / 4, rel=0.01)
    assert found["few"].effort.tokens == pytest.approx(40 * 201 / 4, rel=0.01)


def test_digits_and_what_stands_around_a_row_are_tokens(write_recipe: Write, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "12 + 34"}, {"role": "assistant", "content": "46"}]
    (tmp_path / "rows.jsonl").write_text((json.dumps({"messages": turns}) + "\n") * 10)
    found = _of(write_recipe(f"""
name: files
stages:{BASE}
  tuned: {{kind: sft, model: base, data: rows.jsonl, epochs: 1, batch_size: 10, prompt: {{system: Add it.}}}}
"""))
    assert found["tuned"].effort.tokens == 10 * (5 + 2 + 3 + 3 * lengths.TEMPLATE)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "parquet"])
def test_rows_of_a_large_file_are_reckoned_from_its_text(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(lengths, "READ", 2**10)
    rows = [{"prompt": "a" * 80, "completion": "b" * 120}] * 3000
    text = "".join(json.dumps(row) + "\n" for row in rows)
    file = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    else:
        file.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    found = _of(write_recipe(f"""
name: large
stages:{BASE}
  cold: {{kind: sft, model: base, data: {file.name}, batch_size: 30, epochs: 1}}
"""))
    # Keys and quotes, which no token stands for, are some of the text's bytes.
    expected = 3000 * 201 / 4
    assert found["cold"].effort.tokens == pytest.approx(expected, rel=0.01 if ending == "parquet" else 0.2)


def test_what_does_not_fit_is_made_to(write_recipe: Write) -> None:
    many = BASE.replace("steps: 10", "steps: 10\n    batch_size: 512")
    path = write_recipe(f"name: large\nstages:{many}")
    whole = _of(path)["base"]
    assert whole.largest
    small = Device("small", int(whole.largest.peak - 2**20), 1e12, 1e12, 1e12, 1.0)
    [found] = _of(path, small).values()
    assert not found.fits
    tried = remedies(found)
    assert tried[0].change.startswith("micro_batch_tokens: ")
    assert tried[-1].fits
    assert all(not one.fits for one in tried[:-1])
    tiny = Device("tiny", GIB, 1e12, 1e12, 1e12, 1.0)  # which the libraries alone fill
    [never] = _of(path, tiny).values()
    changes = [one.change for one in remedies(never)]
    assert "gradient_checkpointing: true" in changes
    assert "FSDP2 over 64 devices" in changes
    assert changes[-1] == "lora: {rank: 16}, in one process"


def test_half_precision_is_told_where_a_model_is_shared(write_recipe: Write, tmp_path: Path) -> None:
    half = BASE.replace("steps: 10", "steps: 10\n    dtype: bfloat16")
    text = f"name: half\naccelerate: two.yaml\nstages:{half}"
    told = {}
    for kind in ("FSDP", "MULTI_GPU"):
        config = f"distributed_type: {kind}\nnum_processes: 2\nfsdp_config: {{fsdp_version: 2}}\n"
        (tmp_path / "two.yaml").write_text(config)
        told[kind] = [*lines([*_of(write_recipe(text)).values()], DEVICES["h100"], 2, 2)]
    assert told == {"FSDP": ["base: under FSDP2 weights have to be in full precision: dtype: float32"], "MULTI_GPU": []}
    tiny = Device("tiny", GIB, 1e12, 1e12, 1e12, 1.0)
    changes = [one.change for one in remedies(_of(write_recipe(text), tiny)["base"])]
    assert "FSDP2 over 64 devices, and dtype: float32" in changes


def test_processes_share_the_work(write_recipe: Write, tmp_path: Path) -> None:
    text = f"name: shared\nstages:{BASE}"
    (tmp_path / "two.yaml").write_text("distributed_type: FSDP\nnum_processes: 2\nfsdp_config: {fsdp_version: 2}\n")
    alone = _of(write_recipe(text))["base"]
    shared = _of(write_recipe(text.replace("stages:", "accelerate: two.yaml\nstages:", 1)))["base"]
    assert alone.largest
    assert shared.largest
    assert shared.largest.optimizer == alone.largest.optimizer / 2
    assert shared.setting.sharing.processes == 2
