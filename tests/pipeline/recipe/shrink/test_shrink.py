"""The recipes for real models, run with tiny ones; budgets that are cut, and what is asked for all the same."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval.problems.data_folder import VARIABLE
from eval.prompts import question_text, render
from eval.tools.rows import row_of
from pipeline.commands import cli
from pipeline.contract.errors import RecipeError
from pipeline.costs.shape import shape_of
from pipeline.models import shrunk
from pipeline.models.tokenizer import train_tokenizer
from pipeline.recipe import fingerprint, recipe
from pipeline.recipe.inputs import HUB_ID, Source
from pipeline.recipe.recipe import Recipe
from pipeline.recipe.shrink import budgets
from pipeline.recipe.shrink.configs import shipped_config
from rewards.types import Completion, Problem

Write = Callable[..., Path]

WORDS = train_tokenizer(["3"], 48)
REAL = ("deepseek-v2-lite", "gpt-oss-20b", "llama-3.2-1b", "long-context", "mixtral-8x7b", "qwen3-1.7b",
        "qwen3-30b-a3b")

PARAMETERS = {  # in billions, as their makers tell them
    "Qwen/Qwen3-30B-A3B-Base": 30.5, "Qwen/Qwen3-30B-A3B-Thinking-2507": 30.5, "Qwen/Qwen3-1.7B-Base": 1.7,
    "meta-llama/Llama-3.2-1B": 1.24, "deepseek-ai/DeepSeek-V2-Lite": 15.7, "openai/gpt-oss-20b": 20.9,
    "mistralai/Mixtral-8x7B-v0.1": 46.7, "allenai/OLMoE-1B-7B-0924": 6.92,
}


def no_hub(source: Source) -> str:
    raise AssertionError(f"{source.reference} was looked for")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a few rows of each published set that the recipes ask."""
    folder = tmp_path / "published"
    folder.mkdir()
    names = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal")
    sums = [(f"{name} has {i} eggs and finds {n} more. How many eggs does {name} have?", str(i + n))
            for n, name in enumerate(names) for i in range(2)]
    gsm8k = [{"question": asked, "answer": f"so\n#### {answer}"} for asked, answer in sums]
    maths = [{"problem": f"What is ${n} \\cdot {i}^2$?", "solution": "", "answer": str(n * i * i), "subject": "Algebra",
              "level": 1, "unique_id": f"algebra/{n}-{i}.json"} for n in range(12, 16) for i in range(3, 7)]
    mbpp = [{"task_id": number, "text": f"Write a function to add {number} to a number.",
             "code": f"def add(x):\n    return x + {number}", "test_setup_code": "", "challenge_test_list": [],
             "test_list": [f"assert add(1) == {number + 1}"]} for number in [*range(11, 19), *range(601, 609)]]
    humaneval = [{"task_id": f"HumanEval/{n}", "prompt": f'def times(x):\n    """x by {n}"""\n', "entry_point": "times",
                  "canonical_solution": f"    return {n} * x\n",
                  "test": f"def check(f):\n    assert f(2) == {2 * n}\n"} for n in range(8)]
    files = {"gsm8k_train": gsm8k[:8], "gsm8k_test": gsm8k[8:], "math_train": maths[:8], "math500_test": maths[8:],
             "mbpp": mbpp, "humaneval": humaneval}
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


@pytest.mark.parametrize("name", REAL)
@pytest.mark.usefixtures("published")
def test_every_stage_of_a_recipe_for_real_models_ends(
    name: str, context: Callable[..., Any], tmp_path: Path
) -> None:
    read = recipe.read(name, ["shrink=true"], resolve_hub=no_hub)
    made: dict[str, Path] = {}
    for step in read.steps.values():
        given = {reference: made[reference] if source.origin == "stage" else
                 shrunk.folder_of(tmp_path / "cache", source.config or {}, source.commit)
                 for reference, source in step.sources.items()}
        ctx = context()
        ctx.name, ctx.paths = step.name, given
        metrics = step.config.run(ctx)
        assert metrics
        made[step.name] = ctx.out


@pytest.mark.parametrize(("name", "teacher", "taught", "asked"), [
    ("qwen3-1.7b", "traces", "student", ["student_rl", "score"]),
    ("llama-3.2-1b", "traces", "student", ["student_rl", "score"]),
    ("mixtral-8x7b", "teacher", "cold", ["rl", "score"]),
])
def test_students_of_a_chat_model_are_asked_as_they_were_taught(
    name: str, teacher: str, taught: str, asked: list[str]
) -> None:
    how = {step.name: step.config.prompt.prompting() for step in read_small(name).steps.values()}
    problem = Problem(id="1", prompt="What is 2 + 3?", answer="5", verifier="math", family="sums")
    in_chat = replace(how[teacher], template="chat")
    row = row_of(question_text(problem, in_chat), Completion("2 and 3 make 5.\n</think>\n\n\\boxed{5}"), in_chat)
    [learned] = render(WORDS, [row["prompt"]], how[taught])
    assert learned.endswith("\\boxed{}.. Assistant:<think>")  # which its completion closes
    assert [render(WORDS, [problem], how[stage]) for stage in asked] == [[learned]] * len(asked)


@pytest.mark.faults
@pytest.mark.usefixtures("published")
def test_a_shrunk_recipe_runs_like_any_other(
    tmp_path: Path, retort: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = retort(tmp_path, "run", "deepseek-v2-lite", "--shrink")
    assert done.returncode == 0, done.stdout + done.stderr
    stage = json.loads(next((tmp_path / "runs" / "artifacts").glob("zero-*/stage.json")).read_text())
    assert stage["inputs"]["deepseek-ai/DeepSeek-V2-Lite"]["origin"] == "shrunk"
    again = retort(tmp_path, "run", "deepseek-v2-lite", "--set", "shrink=true")
    assert again.returncode == 0
    assert "starts" not in again.stdout
    status = retort(tmp_path, "status", "deepseek-v2-lite-shrink=true")  # which reads the recipe again
    assert status.returncode == 0, status.stderr


@pytest.mark.parametrize("name", REAL)
def test_budgets_are_cut_and_nothing_else(name: str) -> None:
    whole, small = recipe.read(name, resolve_hub=lambda _: "0" * 40), read_small(name)
    assert small.accelerate is None
    assert small.run_name == f"{name}-shrink=true"
    assert [step.kind for step in small.steps.values()] == [step.kind for step in whole.steps.values()]
    for before, after in zip(whole.steps.values(), small.steps.values(), strict=True):
        assert after.needs == before.needs
        left, right = (dict(outside(step.config.model_dump())) for step in (before, after))
        assert left == right
        for name, most in budgets.MOST.items():
            value = getattr(after.config, name, None)
            assert value is None or value <= most, name


CHANGED = {*budgets.MOST, *budgets.INSTEAD, "data", "problems"}


def outside(fields: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a configuration that is not to be cut, by the keys that lead to it."""
    pairs = fields.items() if isinstance(fields, dict) else enumerate(fields) if isinstance(fields, list) else ()
    for key, value in pairs:
        if key in CHANGED:
            continue
        if isinstance(value, dict | list):
            yield from outside(value, (*above, str(key)))
        else:
            yield (*above, str(key)), value


def read_small(name: str, *sets: str) -> Recipe:
    return recipe.read(name, ["shrink=true", *sets], resolve_hub=no_hub)


def test_what_is_set_goes_before_what_is_cut() -> None:
    steps = read_small("qwen3-1.7b", "student_rl.steps=7", "score.problems_each=20").steps
    fields: Mapping[str, Any] = {**steps["student_rl"].config.model_dump(), **steps["score"].config.model_dump()}
    assert (fields["steps"], fields["problems_each"]) == (7, 20)


def test_parts_of_a_stage_have_a_step_each() -> None:
    base = read_small("quickstart").steps["base"].config.model_dump()
    assert [lesson["steps"] for lesson in base["lessons"]] == [1] * len(base["lessons"])
    assert base["architecture"]["hidden_size"] <= 64


LLAMA = "architecture: {model_type: llama, num_hidden_layers: 4, intermediate_size: 256, "
LESSONS = "lessons: [" + ", ".join(["{steps: 5, corpus: {}}"] * 5) + "]"
ROUNDS = "kind: grpo, model: base, problems: [word_problems:train], problems_each: 40, steps: 50"


@pytest.mark.parametrize("stage", [
    f"kind: pretrain, steps: 100, {LLAMA} hidden_size: 64, num_attention_heads: 4}}, {LESSONS}",
    f"kind: pretrain, steps: 100, {LLAMA} hidden_size: 64, num_attention_heads: 4}}, {LESSONS}, "
    "late: {share: 0.5, corpus: {}}",
    f"kind: pretrain, steps: 100, {LLAMA} hidden_size: 60, num_attention_heads: 6, num_key_value_heads: 3}}",
    f"{ROUNDS}, prompts_per_step: 1, group_size: 3, updates_per_step: 3",
    "kind: distill, student: base, teacher: base, method: on_policy, rollouts: {problems: [word_problems:train], "
    "steps: 50, prompts_per_step: 1, group_size: 3, updates_per_step: 3}",
    "kind: pretrain, steps: 100, architecture: {model_type: qwen3_moe, num_hidden_layers: 24, decoder_sparse_step: 4}",
])
def test_what_fits_together_does_so_when_it_is_cut(write_recipe: Write, stage: str) -> None:
    stages = f"stages:\n  base: {{kind: tiny.py:Make}}\n  more: {{{stage}}}\n"
    recipe.read(str(write_recipe(stages)))
    recipe.read(str(write_recipe(f"shrink: true\n{stages}")))


def test_a_folder_is_stood_in_for_by_its_config(write_recipe: Write, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", "hidden_size": 4096}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_text("")
    path = write_recipe("shrink: true\nstages:\n  score: {kind: evaluate, models: [mine], problems: [programs:test]}\n")
    source = recipe.read(str(path)).steps["score"].sources["mine"]
    assert (source.origin, source.path) == ("shrunk", None)
    before = fingerprint.of_recipe(recipe.read(str(path)))["score"].digest
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 4096}))
    assert fingerprint.of_recipe(recipe.read(str(path)))["score"].digest != before


def test_a_model_that_neither_comes_along_nor_is_on_the_hub(write_recipe: Write) -> None:
    stages = "stages:\n  score: {kind: evaluate, models: [no/such], problems: [programs:test]}\n"
    path = write_recipe(f"shrink: true\n{stages}")
    with pytest.raises(RecipeError, match=r"yaml:3: score.models.0: model 'no/such' has no config that can be had"):
        recipe.read(str(path))


def test_two_sets_may_become_one(write_recipe: Write) -> None:
    sets = "['needle_32k:test', 'needle_128k:test', 'programs:test']"
    stages = f"  base: {{kind: tiny.py:Make}}\n  score: {{kind: evaluate, models: [base], problems: {sets}}}\n"
    read = recipe.read(str(write_recipe(f"shrink: true\nstages:\n{stages}")))
    assert read.steps["score"].config.model_dump()["problems"] == ["needle:test", "programs:test"]


def test_a_field_that_a_stage_does_not_have_is_told(write_recipe: Write) -> None:
    path = write_recipe("shrink: true\nstages:\n  base: {kind: tiny.py:Make, data: a/b}\n")
    with pytest.raises(RecipeError, match=r"base\.data: there is no such field"):
        recipe.read(str(path))


def test_what_is_wrong_stays_wrong(write_recipe: Write) -> None:
    path = write_recipe("shrink: true\nstages:\n  base: {kind: pretrian, steps: 1000}\n  other: [pretrain]\n")
    with pytest.raises(RecipeError, match="there is no stage called 'pretrian'"):
        recipe.read(str(path))
    wrong = ROUNDS + ", prompts_per_step: 1, group_size: 3, updates_per_step: 2"
    path = write_recipe(f"shrink: true\nstages:\n  base: {{kind: tiny.py:Make}}\n  more: {{{wrong}}}\n")
    with pytest.raises(RecipeError, match="3 rollouts a step do not split into 2 updates"):
        recipe.read(str(path))


@pytest.mark.parametrize("name", REAL)
def test_the_config_of_every_model_that_is_named_comes_along(name: str) -> None:
    document = yaml.safe_load(recipe.shipped()[name].read_text())
    for block in document["stages"].values():
        for reference in [block.get("model"), block.get("student"), *block.get("models", [])]:
            if reference and HUB_ID.fullmatch(reference):
                assert shipped_config(Source(reference, "model", "hub")), reference
                assert reference in PARAMETERS


@pytest.mark.parametrize(("name", "billions"), PARAMETERS.items())
def test_shipped_configs_have_the_parameters_that_their_makers_tell(name: str, billions: float) -> None:
    config = shipped_config(Source(name, "model", "hub"))
    assert config
    shape = shape_of(config)
    assert shape.parameters / 1e9 == pytest.approx(billions, rel=0.02)
    assert shape.dtype == "bfloat16"


def test_a_revision_is_asked_of_the_hub() -> None:
    assert shipped_config(Source("Qwen/Qwen3-1.7B-Base@main", "model", "hub")) is None


def test_a_plan_with_money_of_a_shrunk_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "llama-3.2-1b", "--shrink", "--on", "h100"]) == 0
    assert "student" in capsys.readouterr().out


def test_the_file_may_say_so(write_recipe: Write) -> None:
    stages = "stages:\n  base: {kind: pretrain, steps: 9, architecture: {model_type: qwen3, num_attention_heads: 2, " \
        "num_key_value_heads: 2, hidden_size: 256, num_hidden_layers: 3, intermediate_size: 512, head_dim: 64}}\n" \
        "  long: {kind: extend, model: base, data: rows/mine.jsonl, phases: [{length: 4000, steps: 30}]}\n" \
        "  rl: {kind: grpo, model: base, problems: ['programs:train'], steps: 9, engine: vllm, staleness: 1, " \
        "vllm: {url: 'http://localhost:1'}}\n  own: {kind: 'own.py:Own', format: csv, steps: 900}\n"
    path = write_recipe(f"shrink: true\n{stages}")
    (path.parent / "rows").mkdir()
    (path.parent / "rows" / "mine.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 9)
    (path.parent / "own.py").write_text(OWN)
    read = recipe.read(str(path))
    assert read.run_name == f"{read.name}-shrink=true"
    architecture = read.steps["base"].config.model_dump()["architecture"]
    assert (architecture["num_attention_heads"], architecture["num_key_value_heads"]) == (2, 2)
    assert "rows/mine.jsonl" in read.steps["long"].sources
    own = read.steps["own"].config.model_dump()
    assert (own["format"], own["steps"], own["length"]) == ("csv", 4, 5)


OWN = """
from typing import ClassVar, Literal
from pydantic import Field
from pipeline.stage import ArtifactType, Context, Metrics, Stage

class Own(Stage):
    kind: ClassVar[str] = "own"
    makes: ClassVar[ArtifactType] = "report"
    format: Literal["jsonl", "csv"] = "jsonl"
    steps: int = 1000
    length: int = Field(default_factory=lambda: 5)

    def run(self, ctx: Context) -> Metrics:
        return {}
"""


@pytest.mark.parametrize(("text", "said"), [("{", "is no JSON"), ("[]", "it holds no object")])
def test_a_damaged_config_is_a_line(write_recipe: Write, text: str, said: str) -> None:
    path = write_recipe("shrink: true\nstages:\n  score: {kind: evaluate, models: [mine], problems: [programs:test]}\n")
    (path.parent / "mine").mkdir()
    (path.parent / "mine" / "config.json").write_text(text)
    with pytest.raises(RecipeError, match=said):
        recipe.read(str(path))
