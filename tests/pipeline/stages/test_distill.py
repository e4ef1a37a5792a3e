"""Each method of `distill`, and `grpo` with a teacher: the same bytes from the same seed, and after a kill inside."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipeline.contract.dataset import ALL
from pipeline.contract.errors import StageError
from pipeline.distillation.sections import Match
from pipeline.distillation.verdicts import Traces, best
from pipeline.models import pretrained
from pipeline.models.build import build
from pipeline.recipe import recipe
from pipeline.stages.distill import Distill
from pipeline.stages.grpo import Grpo
from tests.pipeline.distillation.tokenizers_apart import byte_level
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
    "cross_tokenizer": {"teacher": "stranger", "match": {"mix": 0.5}},
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


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that cuts text into other tokens, of a shape of its own."""
    out = tmp_path_factory.mktemp("stranger")
    tokenizer = byte_level(330)
    fields = {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16,
              "num_attention_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.4}
    pretrained.save(build(fields, len(tokenizer), seed=2), tokenizer, out)
    return out


@pytest.fixture
def paths(answerer: Path, student: Path, stranger: Path, tmp_path: Path) -> dict[str, Path]:
    traces = tmp_path / "traces.jsonl"
    rows = [{"prompt": prompt, "completion": SAYS[: 20 + 3 * place]} for place, prompt in enumerate(PROMPTS[:8])]
    traces.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"student": student, "teacher": answerer, "other": student, "stranger": stranger, "traces": traces}


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
    ("logits", 14), ("ensemble", 14), ("self", 14), ("cross_tokenizer", 14),  # between two rows of the log
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


def test_a_teacher_with_other_words_is_come_nearer_to(paths: dict[str, Path], tmp_path: Path, context: Context) -> None:
    paths = {**paths, "traces": rated(tmp_path, "whole", dict.fromkeys(range(8), 1.0), SAYS)}
    ctx = context(**paths)
    stage = stage_of("cross_tokenizer", tmp_path).model_copy(update={
        "learning_rate": 0.02, "adam_learning_rate": 1e-2, "match": Match(mix=1.0),
    })
    stage.run(ctx)
    divergences = [row["divergence"] for row in ctx.rows]
    assert divergences[-1] < 0.85 * divergences[0], divergences
    [note] = [note for note in ctx.notes if "of what is learned" in note]
    assert "100.0% of what is learned" in note
    again = _run(stage, context, paths)
    assert not any("distributions over" in note for note in again.notes)
    assert weights(again) == weights(ctx)


@pytest.mark.parametrize("name", ["logits", "ensemble", "self", "on_policy", "grpo"])
def test_a_teacher_is_not_asked_beyond_its_context(
    name: str, paths: dict[str, Path], ask_for: Ask, context: Context, tmp_path: Path
) -> None:
    short, stage = shortened(paths["teacher"], 24, tmp_path / "short"), stage_of(name, ask_for(["3"] * 8))
    with pytest.raises(StageError, match=r"was made for 24 tokens, and the longest|do not fit in its context of 24"):
        stage.run(context(**{**paths, "teacher": short}))
    room = stage.room()
    assert room is None or [*room.models] == ["student", "teacher"]


def test_what_is_beyond_the_context_of_a_teacher_with_other_words_is_learned_without_it(
    paths: dict[str, Path], tmp_path: Path, context: Context
) -> None:
    paths = {**paths, "traces": rated(tmp_path, "whole", dict.fromkeys(range(8), 1.0), SAYS)}
    stage, shares = stage_of("cross_tokenizer", tmp_path), []
    for most in (512, 70):
        ctx = _run(stage, context, {**paths, "stranger": shortened(paths["stranger"], most, tmp_path / f"{most}")})
        [note] = [note for note in ctx.notes if "of what is learned" in note]
        shares.append(float(re.findall(r"hold ([\d.]+)%", note)[0]))
    assert shares[0] == 100
    assert 0 < shares[1] < 100
    with pytest.raises(StageError, match=r"read no part of the traces alike, of which .* reads 8 tokens: take method"):
        _run(stage, context, {**paths, "stranger": shortened(paths["stranger"], 8, tmp_path / "8")})


def shortened(model: Path, context: int, folder: Path) -> Path:
    """The same model, as one that was made for fewer tokens."""
    loaded, tokenizer = pretrained.load(model)
    loaded.config.max_position_embeddings = context
    pretrained.save(loaded, tokenizer, folder)
    return folder


def _run(stage: Distill, context: Context, paths: dict[str, Path]) -> Any:
    ctx = context(**paths)
    stage.run(ctx)
    return ctx


def test_across_tokenizers_that_are_one_it_is_logits(paths: dict[str, Path], tmp_path: Path, context: Context) -> None:
    """The same rows, distributions and losses; of rows that are all learned by spans of one token."""
    found = {}
    for name in ("logits", "cross_tokenizer"):
        stage = stage_of(name, tmp_path).model_copy(update={"teacher": "teacher", "match": Match(), "epochs": 1.0})
        found[name] = _run(stage, context, paths).out
    [one, other] = (torch.cat([value.flatten() for _, value in sorted(pretrained.load(out)[0].state_dict().items())])
                    for out in found.values())
    assert torch.allclose(one, other, atol=2e-3)


def rated(folder: Path, name: str, rates: dict[int, float], said: str) -> Path:
    file = folder / f"{name}.jsonl"
    rows = [{"prompt": PROMPTS[place], "completion": said, "problem": f"p{place}", "asked": PROMPTS[place],
             "pass_rate": rate} for place, rate in rates.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_each_problem_is_learned_of_the_teacher_that_is_right_most_often(
    paths: dict[str, Path], tmp_path: Path, context: Context
) -> None:
    first = rated(tmp_path, "first", {0: 0.5, 1: 0.25, 2: 1.0, 3: 0.5}, SAYS)
    second = rated(tmp_path, "second", {0: 0.25, 1: 0.75, 2: 1.0, 4: 0.25}, SAYS[:30])
    stage = Distill.model_validate({
        "student": "student", "method": "ensemble", "teachers": ["teacher", "other"], "traces": ["a", "b"],
        "batch_size": 5, "epochs": 1,
    })
    ctx = context(**paths, a=first, b=second)
    metrics = stage.run(ctx)
    assert (metrics["rows"], metrics["steps"]) == (5, 1)
    assert "traces of each problem's best teacher: 3 of a, 2 of b" in ctx.notes
    chosen = best(ctx.cache, [Traces("a", first, ALL), Traces("b", second, ALL)])
    rows = [json.loads(line) for line in (chosen.folder / "data.jsonl").read_text().splitlines()]
    assert {row["problem"]: row["teacher"] for row in rows} == {"p0": 0, "p1": 1, "p2": 0, "p3": 0, "p4": 1}
    assert [row["teacher"] for row in rows] == list(chosen.teachers)
    assert {row["completion"] for row in rows if row["teacher"]} == {SAYS[:30]}
    # Each teacher was asked about its own rows.
    asked = [note.partition(" tokens of ")[2] for note in ctx.notes if note.startswith("distributions over")]
    assert [note.partition(" rows")[0] for note in asked] == ["3", "2"]


def test_traces_that_are_drawn_anew_are_chosen_among_anew(tmp_path: Path) -> None:
    """vLLM draws other rows under the fingerprint of the first ones."""
    artifact = tmp_path / "traces-1"
    artifact.mkdir()
    (artifact / "stage.json").write_text(json.dumps({"fingerprint": "f"}))
    found = []
    for said in (SAYS, SAYS[:30]):
        rated(artifact, "data", {0: 1.0}, said)
        chosen = best(tmp_path / "cache", [Traces("a", artifact, ALL), Traces("b", artifact, ALL)])
        found.append(json.loads((chosen.folder / "data.jsonl").read_text())["completion"])
    assert found == [SAYS, SAYS[:30]]


def test_a_row_without_a_verdict_is_no_trace_to_choose(
    paths: dict[str, Path], tmp_path: Path, context: Context
) -> None:
    stage = Distill.model_validate({
        "student": "student", "method": "ensemble", "teachers": ["teacher", "other"], "traces": ["a", "traces"]
    })
    with pytest.raises(StageError, match="a row of traces does not say what it was asked"):
        stage.run(context(**paths, a=rated(tmp_path, "first", {0: 1.0}, SAYS)))


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


EFFORTS = {"low": 8, "medium": 16, "high": 32}


@pytest.mark.parametrize(("changed", "said"), [
    ({"teacher": "r1"},
     "teacher is of method logits or on_policy or self or cross_tokenizer, and method is traces: leave it out"),
    ({"method": "logits"}, "method logits needs teacher"),
    ({"method": "logits", "teacher": "r1", "traces": ["a", "b"]}, "a list of traces is of method ensemble, and method"),
    ({"method": "ensemble", "teachers": ["r1", "r2"], "traces": ["a"]},
     "1 datasets of traces are not one for each of 2 teachers"),
    ({"method": "ensemble", "teachers": ["r1", "r2"], "traces": ["a", "b"], "bad_rows": "drop"},
     "bad_rows: drop is for one dataset"),
    ({"method": "ensemble", "teachers": ["r1"]}, "at least 2 items"),
    ({"traces": None}, "method traces needs traces"),
    ({"method": "logits", "teacher": "r1", "rollouts": ROLLOUTS}, "rollouts is of method on_policy"),
    ({"match": {"mix": 0.5}}, "match is of method logits or ensemble or self or cross_tokenizer, and method is traces"),
    ({"method": "on_policy", "teacher": "r1", "rollouts": ROLLOUTS}, "traces is of method traces or logits"),
    ({"method": "on_policy", "teacher": "r1", "traces": None, "rollouts": ROLLOUTS, "epochs": 2},
     "epochs is for traces, and method on_policy has none: leave it out; rollouts says how much is trained on"),
    ({"method": "on_policy", "teacher": "r1", "traces": None, "rollouts": ROLLOUTS, "effort": EFFORTS},
     "effort is for traces, and method on_policy has none"),
    ({"method": "on_policy", "teacher": "r1", "traces": None, "rollouts": {**ROLLOUTS, "updates_per_step": 3}},
     "8 rollouts a step do not split into 3 updates"),
])
def test_a_field_of_another_method_is_refused_when_the_recipe_is_read(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Distill.model_validate({"student": "base", "traces": "traces", **changed})


def test_what_a_stage_says_of_its_work(tmp_path: Path) -> None:
    by_logits, on_policy, grpo = (stage_of(name, tmp_path) for name in ("logits", "on_policy", "grpo"))
    assert by_logits.work().readers == ["teacher"]
    assert not stage_of("traces", tmp_path).work().readers
    best_of = stage_of("ensemble", tmp_path).model_copy(update={"traces": ["a", "b"]})
    assert best_of.work().trained[0].shares == {"a": 0.5, "b": 0.5}
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
    assert methods == set(METHODS) - {"cross_tokenizer"}  # all models there have one tokenizer
    shrunk = recipe.read(str(tmp_path / "recipe.yaml"), ["shrink=true"]).steps["on_policy"].config
    assert isinstance(shrunk, Distill)
    assert shrunk.rollouts is not None
    assert (shrunk.rollouts.prompts_per_step, shrunk.rollouts.steps) == (2, 1)
