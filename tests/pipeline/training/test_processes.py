"""Two gloo processes make the steps of one: the same rollouts, sums over all rows divided by counts over all rows."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.contract.stage import stage_seed
from pipeline.models import pretrained
from pipeline.models.mtp.module import Mtp
from tests.launchers import CONFIGS, NEEDS

pytestmark = pytest.mark.xdist_group("two processes")

LITTLE = (Path(__file__).parents[2] / "faults" / "little.yaml").read_text()
BASE = LITTLE[: LITTLE.index("\n  zero:")].replace("name: little", "name: one\nseed: 3")
HEAD = """name: NAME
seed: 3
ACCELERATE
stages:
"""
# Steps as long as the gradients: a factor that they are wrong by is seen, where Adam would hide it.
SGD = {"optimizer": {"name": "sgd"}, "learning_rate": 0.3}
UNCLIPPED = {"max_grad_norm": 1e3}
SFT = {
    "kind": "sft", "data": "../rows.jsonl", "epochs": 1, "batch_size": 8, "micro_batch_tokens": 256,
    "balance": {"load": 0.0}, "too_long": "cut", **SGD,
}
GRPO = {
    "kind": "grpo", "problems": ["programs:train"], "problems_each": 8, "gate": 0,
    "reward": {"correct": 1.0, "rules": {"../luck.py:luck": 1.0}}, "balance": {"load": 0.0}, "steps": 3,
    "prompts_per_step": 4, "group_size": 4, "updates_per_step": 2, "max_completion_tokens": 24,
    "micro_batch_tokens": 128, **SGD,
}
SHORT = {"limit": 160, "micro_batch_tokens": 64}
DRAWN = {"problems_each": 64, "rollouts": 8, "max_completion_tokens": 24}
TEACHER = "TEACHER"  # the model that one process has made of the base
ROLLOUTS = {"problems": ["programs:train"], "problems_each": 8, "steps": 3, "prompts_per_step": 4, "group_size": 2,
            "updates_per_step": 2, "max_completion_tokens": 24}
STAGES: dict[str, dict[str, object]] = {
    "tuned": {**SFT, **UNCLIPPED},
    "muon": {**SFT, **SHORT, "optimizer": {"name": "muon"}, "learning_rate": 1e-3, "max_grad_norm": 0.1,
             "gradient_checkpointing": True},
    "mixed": {**SFT, **SHORT, "mixed_precision": True},
    "adapted": {**SFT, **UNCLIPPED, "lora": {"rank": 4}},
    "zero": {**GRPO, **UNCLIPPED},
    "kl": {**GRPO, "beta": 0.1, "gradient_checkpointing": True},
    # Whose rollouts are read once more, by the forwards that are trained; one round, since the next draws other tokens.
    "halved": {**GRPO, **UNCLIPPED, "mixed_precision": True, "beta": 0.1, "steps": 1},
    # Rounds are chosen by what all processes have seen; a bonus is a mean over the tokens of all.
    "chosen": {**GRPO, "curriculum": {}, "entropy_bonus": 0.02},
    "logits": {**SFT, **UNCLIPPED, "kind": "distill", "method": "logits", "teacher": TEACHER, "traces": SFT["data"]},
    # Spans of one token, since both have one tokenizer; what processes share are the sums over their tokens.
    "across": {**SFT, **UNCLIPPED, "kind": "distill", "method": "cross_tokenizer", "teacher": TEACHER,
               "traces": SFT["data"]},
    "on_policy": {"kind": "distill", "method": "on_policy", "teacher": TEACHER, "rollouts": ROLLOUTS,
                  "balance": {"load": 0.0}, **UNCLIPPED, **SGD, "learning_rate": 1.0},
    "guided": {**GRPO, **UNCLIPPED, "teacher": {"model": TEACHER, "weight": 1.0}},
    "ahead": {**SFT, **UNCLIPPED, "mtp": {}},
    "beside": {**GRPO, **UNCLIPPED, "mtp": {}},
    "traces": {"kind": "sample", "problems": ["programs:train"], "format": False, "readable": False, **DRAWN},
    "score": {"kind": "evaluate", "problems": ["programs:test", "word_problems:test"], **DRAWN},
}


def written(stage: str, base: str, teacher: str = "") -> str:
    """The stage, of that base, as a recipe has it."""
    fields = STAGES[stage]
    named = "models" if stage == "score" else "student" if fields["kind"] == "distill" else "model"
    fields = {**fields, named: [base] if stage == "score" else base}
    if fields["kind"] == "distill":
        fields.pop("data", None)
    return f"\n  {stage}: {json.dumps(fields).replace(TEACHER, teacher)}\n"


Trained = Callable[[str, str], tuple[Path, Path]]


def retort_run(recipe: str, folder: Path) -> None:
    (folder / "recipe.yaml").write_text(recipe)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipeline.commands.cli", "run", "recipe.yaml"], cwd=folder, capture_output=True,
        text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def weights(folder: Path, stage: str) -> dict[str, torch.Tensor]:
    [file] = (folder / "runs" / "artifacts").glob(f"{stage}-*/model/model.safetensors")
    return load_file(file)


def metrics(folder: Path, stage: str) -> list[dict[str, float]]:
    [file] = (folder / "runs" / "artifacts").glob(f"{stage}-*/metrics.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [{name: value for name, value in row.items() if isinstance(value, int | float)} for row in rows]


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return sum(float((value - other[name]).double().square().sum()) for name, value in one.items()) ** 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With rows of unequal lengths, and in one-zero a base and what one process has made of it."""
    folder = tmp_path_factory.mktemp("processes")
    draw = random.Random(0)
    with (folder / "rows.jsonl").open("w") as file:
        for _ in range(240):  # a few rows are ten times as long as the others
            words = draw.choices(["Tom", "has", "3", "apples", "and", "buys", "4"], k=draw.choice([4, 5, 6, 60]))
            file.write(json.dumps({"prompt": "Say.", "completion": " ".join(words)}) + "\n")
    for name, config in CONFIGS.items():
        (folder / f"{name}.yaml").write_text(config)
    # Of a model that knows nothing, too, rewards differ within a group.
    rule = "def luck(_problem, completion):\n    return sum(map(ord, completion.text)) % 17 / 17\n"
    (folder / "luck.py").write_text(rule)
    (folder / "one-zero").mkdir()
    # In one run, since what takes longest is to start.
    retort_run(BASE + written("zero", "base"), folder / "one-zero")
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> Trained:
    """trained("zero", "ddp") -> the folders in which one and two processes have made that stage of the base."""
    made_by_one = folder / "one-zero" / "runs" / "artifacts"
    [base], [teacher] = ([*made_by_one.glob(f"{one}-*/model")] for one in ("base", "zero"))

    @cache
    def make(stage: str, kind: str) -> tuple[Path, Path]:
        made = folder / f"one-{stage}", folder / f"{kind}-{stage}"
        for place, accelerate in zip(made, ("", f"accelerate: ../{kind}.yaml"), strict=True):
            if place.exists():
                continue
            place.mkdir()
            head = HEAD.replace("NAME", place.name).replace("ACCELERATE", accelerate)
            retort_run(head + written(stage, str(base), str(teacher)), place)
        return made

    return make


# A launch of two processes takes as long as most tests of a file together: one is always tried, the others with
# `make parallel`.
TRAINED = pytest.mark.parametrize(("stage", "kind"), [
    ("zero", "ddp"),
    *(pytest.param(stage, kind, marks=[pytest.mark.parallel, *NEEDS[kind]])
      for kind in CONFIGS
      for stage in ("zero", "kl", "chosen", "tuned", "muon", "adapted", "logits", "across", "on_policy", "guided")
      if (stage, kind) != ("zero", "ddp") and not (stage == "muon" and kind.startswith("zero"))),
])
WITH_MODULE = [pytest.param(stage, kind, marks=[pytest.mark.parallel, *NEEDS[kind]]) for kind in CONFIGS
               for stage in (["beside"] if kind in ("fsdp2", "zero3") else ["ahead", "beside"])]
SHARED = pytest.mark.parametrize(("stage", "kind"), [
    ("traces", "ddp"), ("score", "ddp"),
    # They share no model, and are launched like the stages that do.
    *(pytest.param("score", kind, marks=NEEDS[kind]) for kind in ("fsdp2", "zero3")),
])


@TRAINED
def test_two_processes_go_the_way_of_one(folder: Path, trained: Trained, stage: str, kind: str) -> None:
    start, (one, two) = weights(folder / "one-zero", "base"), (weights(made, stage) for made in trained(stage, kind))
    way = distance(one, start)
    assert way > 0.01
    assert distance(one, two) < 0.001 * way


@pytest.mark.parametrize(("stage", "kind"), WITH_MODULE)
def test_a_module_for_drafts_goes_the_way_that_it_goes_in_one_process(
    folder: Path, trained: Trained, stage: str, kind: str
) -> None:
    [base] = (folder / "one-zero" / "runs" / "artifacts").glob("base-*")
    start = Mtp(pretrained.load(base)[0], stage_seed(3, stage)).state_dict()
    one, two = (load_file(next((made / "runs" / "artifacts").glob(f"{stage}-*/mtp.safetensors")))
                for made in trained(stage, kind))
    way = distance(one, start)
    assert way > 0.01
    # A last bit may route a token elsewhere in the module, whose router nothing replays.
    assert distance(one, two) < 0.01 * way
    test_two_processes_go_the_way_of_one(folder, trained, stage, kind)
    test_two_processes_tell_what_one_tells(trained, stage, kind)


@TRAINED
def test_two_processes_tell_what_one_tells(trained: Trained, stage: str, kind: str) -> None:
    one, two = (metrics(made, stage) for made in trained(stage, kind))
    assert len(one) == len(two) >= 2
    for ours, theirs in zip(one, two, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            if name.startswith("replay/"):
                continue  # measured on one row in 32 of each process, and on prompts as each reads them
            # The watch's figures are of tokens that a last bit may route elsewhere.
            close = 0.02 if name.startswith("moe/") else 1e-3
            assert theirs[name] == pytest.approx(value, rel=close, abs=1e-4), name


@pytest.mark.parallel
@pytest.mark.parametrize("stage", ["mixed", "halved"])
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=NEEDS[kind]) for kind in CONFIGS])
def test_two_processes_that_compute_in_bfloat16_keep_full_precision(
    folder: Path, trained: Trained, stage: str, kind: str
) -> None:
    start = weights(folder / "one-zero", "base")
    one, two = (weights(made, stage) for made in trained(stage, kind))
    assert {value.dtype for value in two.values()} == {torch.float32}
    # Not what bfloat16 can hold, which tells from weights that were rounded on the way.
    assert any(not torch.equal(value, value.bfloat16().float()) for value in two.values())
    assert distance(one, two) < 0.05 * distance(one, start)


@pytest.mark.parallel
def test_stages_of_several_processes_wait_for_each_other(folder: Path) -> None:
    """They would take the same devices, and the same port."""
    [base] = (folder / "one-zero" / "runs" / "artifacts").glob("base-*/model")
    place = folder / "ddp-both"
    place.mkdir()
    head = HEAD.replace("NAME", "both").replace("ACCELERATE", "accelerate: ../ddp.yaml\nparallel: 2")
    short = {**SFT, "limit": 16, "micro_batch_tokens": 64, "threads": 1, "model": str(base)}
    retort_run(head + f"  one: {json.dumps(short)}\n  two: {json.dumps({**short, 'batch_size': 4})}\n", place)


@pytest.mark.parallel
@SHARED
def test_two_processes_draw_the_bytes_of_one(trained: Trained, stage: str, kind: str) -> None:
    made = []
    for place in trained(stage, kind):
        [artifact] = (place / "runs" / "artifacts").glob(f"{stage}-*")
        made.append({file.name: file.read_bytes() for file in artifact.iterdir() if file.name != "stage.json"})
    assert made[0] == made[1]
    assert made[0].keys() >= ({"data.jsonl"} if stage == "traces" else {"report.json"})
