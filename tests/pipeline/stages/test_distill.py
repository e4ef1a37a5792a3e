"""Each method of `distill`, and `grpo` with a teacher: the same bytes from the same seed, and after a kill inside."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipeline.contract.errors import StageError
from pipeline.models import pretrained
from pipeline.models.build import build
from pipeline.recipe import recipe
from pipeline.stages.distill import Distill
from pipeline.stages.grpo import Grpo
from tests.pipeline.stages.conftest import PROMPTS, SAYS
from tests.pipeline.training.test_resumable import PowerCut, checkpoints, cut

Ask = Callable[[Sequence[str]], Path]
Context = Callable[..., Any]

ROWS: dict[str, Any] = {"traces": "traces", "epochs": 12, "batch_size": 4}  # of 8 traces, 24 steps
ROLLOUTS: dict[str, Any] = {"problems": ["mine.jsonl"], "problems_each": 8, "steps": 4, "prompts_per_step": 4,
                            "group_size": 2, "updates_per_step": 2, "max_completion_tokens": 16}  # 8 steps
METHODS: dict[str, dict[str, Any]] = {
    "traces": {},
    "logits": {"teacher": "teacher", "match": {"temperature": 2.0, "mix": 0.5}},
    "ensemble": {"teachers": ["teacher", "other"], "match": {"top_k": 8}},
    "self": {"teacher": "teacher"},
    "on_policy": {"teacher": "teacher", "rollouts": ROLLOUTS},
}
BY_ROLLOUTS = ("on_policy", "grpo")
GRPO = {"model": "student", "problems": ["mine.jsonl"], "problems_each": 8, "steps": 4, "prompts_per_step": 2,
        "group_size": 4, "gate": 0, "max_completion_tokens": 16, "teacher": {"model": "teacher", "top_k": 8}}


@pytest.fixture(scope="module")
def student(answerer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the answerer's shape and tokenizer, which knows nothing."""
    out = tmp_path_factory.mktemp("student")
    teacher, tokenizer = pretrained.load(answerer)
    fields = {**teacher.config.to_dict(), "initializer_range": 0.1}
    for name in ("vocab_size", "dtype", "transformers_version"):
        fields.pop(name)
    pretrained.save(build(fields, len(tokenizer), seed=1), tokenizer, out)
    return out


@pytest.fixture
def paths(answerer: Path, student: Path, tmp_path: Path) -> dict[str, Path]:
    traces = tmp_path / "traces.jsonl"
    rows = [{"prompt": prompt, "completion": SAYS[: 20 + 3 * place]} for place, prompt in enumerate(PROMPTS[:8])]
    traces.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"student": student, "teacher": answerer, "other": student, "traces": traces}


def stage_of(name: str, folder: Path) -> Any:
    if name == "grpo":
        return Grpo.model_validate(GRPO, context={"base": folder})
    rows = {} if name == "on_policy" else ROWS
    return Distill.model_validate(
        {"student": "student", "method": name, **rows, **METHODS[name]}, context={"base": folder}
    )


def weights(ctx: Any) -> bytes:
    return (ctx.out / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("name", "at"), [
    ("logits", 14), ("ensemble", 14), ("self", 14),  # between two rows of the log
    ("on_policy", 5), ("on_policy", 4), ("grpo", 5),  # inside a round, and on its edge
])
def test_killed_inside_it_goes_on_to_the_same_bytes(
    paths: dict[str, Path], ask_for: Ask, context: Context, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    stage = stage_of(name, ask_for(["3"] * 8))
    whole = context(**paths)
    metrics = stage.run(whole)
    killed = context(**paths)
    every = 3 if name in BY_ROLLOUTS else 4
    killed.checkpoints = checkpoints(killed.out, every)
    cut(monkeypatch, at)
    with pytest.raises(PowerCut):
        stage.run(killed)
    cut(monkeypatch, None)
    shutil.rmtree(killed.cache, ignore_errors=True)  # which may be emptied at any time
    again = context(**paths)
    notes: list[str] = []
    again.checkpoints = checkpoints(killed.out, None, notes)
    assert stage.run(again) == metrics
    begins = at - at % every
    assert notes == [f"goes on from its checkpoint at step {begins}"]
    assert weights(again) == weights(whole) != (paths["student"] / "model" / "model.safetensors").read_bytes()
    kept = [row for row in killed.rows if row["step"] <= (-(-begins // 2) if name in BY_ROLLOUTS else begins)]
    assert [*kept, *again.rows] == whole.rows
    assert metrics["divergence"] > 0


def test_the_teacher_is_come_nearer_to(paths: dict[str, Path], ask_for: Ask, context: Context, tmp_path: Path) -> None:
    """By what it says of traces from nothing; by what it says of one's own answers where these are not all nonsense."""
    model, tokenizer = pretrained.load(paths["teacher"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)), alpha=0.05)
    pretrained.save(model, tokenizer, tmp_path / "like")
    folder = ask_for(["3"] * 8)
    for name, student in (("logits", paths["student"]), ("on_policy", tmp_path / "like")):
        stage = stage_of(name, folder).model_copy(update={"learning_rate": 0.01, "adam_learning_rate": 3e-3})
        ctx = context(**{**paths, "student": student})
        stage.run(ctx)
        divergences = [row["divergence"] for row in ctx.rows]
        assert divergences[-1] < 0.85 * divergences[0], (name, divergences)


def test_teachers_are_asked_once_for_all_that_learn_from_them(
    paths: dict[str, Path], tmp_path: Path, context: Context
) -> None:
    stage, first, second = stage_of("logits", tmp_path), context(**paths), context(1, **paths)
    stage.run(first)
    stage.run(second)  # from another seed, with the same cache
    asked = [any(note.startswith("distributions over") for note in ctx.notes) for ctx in (first, second)]
    assert asked == [True, False]


def test_a_model_of_another_shape_is_no_earlier_self(paths: dict[str, Path], tmp_path: Path, context: Context) -> None:
    other = tmp_path / "other"
    shutil.copytree(paths["teacher"], other)
    config = other / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "intermediate_size": 48}))
    with pytest.raises(StageError, match=r"^teacher is no earlier self of the student: its intermediate_size is 48, "
                                         r"the student's 32; take method: logits$"):
        stage_of("self", tmp_path).run(context(**{**paths, "teacher": other}))


@pytest.mark.parametrize(("changed", "said"), [
    ({"teacher": "r1"}, "teacher is of method logits or on_policy or self, and method is traces: leave it out"),
    ({"method": "logits"}, "method logits needs teacher"),
    ({"method": "ensemble", "teachers": ["r1"]}, "at least 2 items"),
    ({"traces": None}, "method traces needs traces"),
    ({"method": "logits", "teacher": "r1", "rollouts": ROLLOUTS}, "rollouts is of method on_policy"),
    ({"match": {"mix": 0.5}}, "match is of method logits or ensemble or self, and method is traces"),
    ({"method": "on_policy", "teacher": "r1", "rollouts": ROLLOUTS}, "traces is of method traces or logits"),
    ({"method": "on_policy", "teacher": "r1", "traces": None, "rollouts": ROLLOUTS, "epochs": 2},
     "epochs is for traces, and method on_policy has none: leave it out; rollouts says how much is trained on"),
    ({"method": "on_policy", "teacher": "r1", "traces": None, "rollouts": {**ROLLOUTS, "updates_per_step": 3}},
     "8 rollouts a step do not split into 3 updates"),
])
def test_a_field_of_another_method_is_refused_when_the_recipe_is_read(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Distill.model_validate({"student": "base", "traces": "traces", **changed})


def test_what_a_stage_says_of_its_work(tmp_path: Path) -> None:
    by_logits, on_policy, grpo = (stage_of(name, tmp_path) for name in ("logits", "on_policy", "grpo"))
    assert by_logits.work().loaded == ["teacher", "student"]
    assert stage_of("traces", tmp_path).work().loaded == ()
    [trained], [drawn] = on_policy.work().trained, on_policy.work().drawn
    assert (trained.teacher, trained.batch, trained.steps, trained.data) == ("teacher", 4, 8, None)
    assert (drawn.prompts, drawn.each, drawn.rounds, drawn.trained) == (4, 2, 4, True)
    assert grpo.work().trained[0].teacher == "teacher"
    assert [one.reference for one in on_policy.asks(0)] == ["mine.jsonl"]


BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "distillation" / "recipe.yaml"


def test_the_benchmark_is_a_recipe_that_can_be_shrunk(paths: dict[str, Path], tmp_path: Path) -> None:
    text = BENCHMARK.read_text()
    for name, path in (("02-student_base", paths["student"]), ("06-r1", paths["teacher"]),
                       ("09-r1_sft", paths["teacher"]), ("07-traces", paths["traces"])):
        text = text.replace(f"../../runs/quickstart/{name}", str(path))
    (tmp_path / "recipe.yaml").write_text(text)
    methods = {step.config.method for step in recipe.read(str(tmp_path / "recipe.yaml")).steps.values()
               if isinstance(step.config, Distill)}
    assert methods == set(METHODS)
    shrunk = recipe.read(str(tmp_path / "recipe.yaml"), ["shrink=true"]).steps["on_policy"].config
    assert isinstance(shrunk, Distill)
    assert shrunk.rollouts is not None
    assert (shrunk.rollouts.prompts_per_step, shrunk.rollouts.steps) == (2, 1)
