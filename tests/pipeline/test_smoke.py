"""The whole lineage by `retort run smoke`, once, and then everything that a person does with a finished run."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eval.assistant_turns import encode_completion
from eval.engine import engine_for
from eval.engine.types import Request, Sampling
from eval.prompts import encode_prompt
from eval.report import reduce
from pipeline.commands import cli
from pipeline.data.rows import read_rows
from pipeline.recipe import inputs, recipe
from pipeline.store.run_folder import RunFolder

RETORT = [sys.executable, "-P", "-m", "pipeline.commands.cli"]
STAGES = (
    "base", "long", "zero", "student_base", "cold_traces", "cold", "r1", "traces", "r1_sft", "student_rl", "student",
    "score"
)
MODELS = [name for name in STAGES if name not in ("cold_traces", "traces", "score")]
QUESTION = "f(x): add 3, then double. Write f."

pytestmark = pytest.mark.xdist_group("smoke")


@pytest.fixture
def run(smoke: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(smoke)
    return smoke / "runs" / "smoke"


@pytest.mark.faults
def test_killing_the_zygotes_of_graders_costs_nothing_but_time(run: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*RETORT, "run", "smoke"], cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL
    )
    kills = 0
    while process.poll() is None:
        time.sleep(0.35)
        graders = [pid for pid in _descendants(process.pid) if b"sandbox/zygote.py" in _command(pid)]
        if graders:
            os.kill(random.choice(graders), signal.SIGKILL)
            kills += 1
    assert process.returncode == 0
    assert kills >= 5
    made = {
        file.relative_to(run.parent): file.read_bytes() for file in (
            run.parent / "artifacts"
        ).rglob("*") if _is_result(file)
    }
    assert len(made) > len(STAGES)
    assert made == {file: (tmp_path / "runs" / file).read_bytes() for file in made}


def _is_result(file: Path) -> bool:
    """Whether a file of an artifact is to be the same in every run; stage.json holds times."""
    return file.is_file() and file.name != "stage.json" and ".partial" not in file.parts


def _descendants(pid: int) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def artifact(run: Path, stage: str) -> Path:
    return RunFolder(run).artifacts()[stage].path


def test_every_stage_was_done_and_told(smoke: Path, run: Path) -> None:
    assert list(RunFolder(run).artifacts()) == list(STAGES)
    printed = (smoke / "printed").read_text()
    assert "runs/smoke is done: 12 stages" in printed
    assert "Traceback" not in printed
    for name in STAGES:
        assert any(line.split()[:2] == [name, "done"] for line in printed.splitlines()), name
    partial = smoke / "runs" / "artifacts" / ".partial"
    assert not partial.exists() or list(partial.iterdir()) == []


@pytest.mark.parametrize("stage", MODELS)
def test_models_load_by_transformers_alone(run: Path, stage: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = artifact(run, stage) / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    family = "qwen3" if stage.startswith("student") else "deepseek_v3"
    assert model.config.model_type == family
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == model.config.eos_token_id
    message = [{"role": "user", "content": QUESTION}]
    ids = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
    assert ids == encode_prompt(tokenizer, QUESTION)
    written = model.generate(**tokenizer(QUESTION, return_tensors="pt", add_special_tokens=False), max_new_tokens=4)
    assert written.shape[1] > len(tokenizer(QUESTION)["input_ids"])


def test_an_extended_model_kept_its_positions(run: Path) -> None:
    from pipeline.models import pretrained

    long, tokenizer = pretrained.load(artifact(run, "long"))
    base, _ = pretrained.load(artifact(run, "base"))
    assert (base.config.max_position_embeddings, long.config.max_position_embeddings) == (96, 144)
    assert tokenizer.model_max_length == 144
    rope = long.config.rope_parameters
    assert (rope["rope_type"], rope["rope_theta"], rope["original_max_position_embeddings"]) == ("yarn", 50.0, 72)


def test_a_trained_model_is_not_the_one_it_came_from(run: Path) -> None:
    moved = [stage for stage in MODELS if stage != "student_rl"]  # which may not earn a single reward in so few steps
    weights = {stage: (artifact(run, stage) / "model" / "model.safetensors").read_bytes() for stage in moved}
    assert len(set(weights.values())) == len(moved)


@pytest.mark.parametrize("stage", ["cold_traces", "traces"])
def test_traces_are_rows_of_right_answers(run: Path, stage: str) -> None:
    rows = read_rows(artifact(run, stage))
    assert {"prompt", "completion", "problem", "family"} <= set(rows[0])
    assert all("</think><answer>def f(x):" in row["completion"] for row in rows)


def test_the_report_counts_the_rollouts(run: Path) -> None:
    folder = artifact(run, "score")
    models = json.loads((folder / "report.json").read_text())["models"]
    assert set(models) == set(MODELS)
    for name, found in models.items():
        rows = [json.loads(line) for line in (folder / f"{name}-programs.jsonl").read_text().splitlines()]
        assert found["problems"]["programs"] == reduce(rows)
        assert {"n", "pass@1", "pass@1_ci95", "pass@2", "maj@2", "format", "readable", "mean_length", "truncated",
                "ungradable"} <= set(found["problems"]["programs"])
        assert found["parameters"] > 10_000


def test_report_as_json_and_as_a_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(run), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in report["stages"]] == list(STAGES)
    for stage in report["stages"]:
        assert {"name", "kind", "seconds", "tokens"} <= set(stage)
        assert stage["tokens"] > 0, stage["name"]
    assert report["seconds"] > 0
    assert set(report["models"]) == set(MODELS)
    assert report["models"]["student"]["parameters"] < report["models"]["zero"]["parameters"] / 2
    assert cli.main(["report", str(run)]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in MODELS)
    before_next = table.partition("\nnext:")[0]  # commands are as long as the paths in them
    assert max(map(len, before_next.splitlines())) <= 120


def test_ask_shows_thinking_and_answer(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", str(run), "zero", QUESTION]) == 0
    first = capsys.readouterr().out
    lines = first.splitlines()
    assert lines[0].startswith("thinking  ")
    assert any(line.startswith("answer    ") for line in lines)
    assert "never seen" not in first
    assert cli.main(["ask", str(run), "zero", QUESTION]) == 0
    assert capsys.readouterr().out == first
    assert cli.main(["ask", str(run), "zero", "f(x): halve 3, then double. Write me f.", "--max-tokens", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "(words that zero has never seen: halve, me)"
    assert lines[-1] == "(stopped after 2 tokens)"


@pytest.mark.parametrize(("words", "said"), [
    (["ask", "{run}", "zerro", "?"], "{run} has no finished model 'zerro'; did you mean 'zero'?"),
    (["ask", "{run}", "traces", "?"], "{run} has no finished model 'traces'; "),
    (["ask", "nowhere", "zero", "?"], "nowhere: there is no such run in runs"),
    (["ask", "{run}", "zero", "?", "--max-tokens", "0"], "--max-tokens must be at least 1"),
    (
        ["eval", "{run}:zerro", "--problems", "programs:test"],
        "{run} has no finished model 'zerro'; did you mean 'zero'?"
    ),
    (["eval", "nowhere", "--problems", "programs:test"], "there is no model at 'nowhere'; "),
    (["eval", "{run}", "--problems", "programs:test", "--n", "1"], "'{run}' is a run; name one of its models: {run}:"),
    (["eval", "{run}/../artifacts", "--problems", "programs:test"], "'{run}/../artifacts' has no config.json; "),
    (
        ["eval", "no-one/nothing", "--problems", "programs:test", "--n", "1"],
        "model 'no-one/nothing' is not in the hub cache "
    ),
    (
        ["eval", "{run}:zero", "--problems", "programms:test"],
        "there is no problem set called 'programms'; did you mean 'programs'?"
    ),
    (["eval", "{run}:zero", "--problems", "programs:tset"], "problem set 'programs' has no split 'tset'; "),
    (
        ["eval", "{run}:zero", "--problems", "programs:test", "--n", "0"],
        "programs:test: the number of problems must be "
    ),
    (["eval", "{run}:zero", "--problems", "programs:test", "--rollouts", "0"], "--rollouts must be at least 1, not 0"),
    (
        ["eval", "{run}:zero", "--problems", "programs:test", "--max-tokens", "0"],
        "--max-tokens must be at least 1, not 0"
    ),
    (
        ["eval", "{run}:zero", "--problems", "programs:test", "--temperature", "-1"],
        "--temperature must be at least 0, not -1"
    ),
    (["eval", "{run}:zero", "--problems", "gsm8k:test", "--data", "nowhere"], "the data folder nowhere does not exist"),
])
def test_what_cannot_be_asked_is_one_line(
    run: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([word.format(run=run) for word in words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    complaint = [line for line in found.err.splitlines() if not line.startswith(("\r", "[transformers]"))]
    assert complaint[-1].startswith(said.format(run=run))
    assert len(complaint) == 1


def test_eval_measures_a_model_of_the_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "eval", f"{run}:zero", "--problems", "programs:test", "--n", "6", "--rollouts", "2", "--out",
        str(tmp_path / "out")
    ]
    assert cli.main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "out" / "zero-programs.jsonl").read_text().splitlines()]
    assert report["models"]["zero"]["problems"]["programs"] == reduce(rows)
    assert len(rows) == 12
    assert cli.main(words) == 0
    assert "zero" in capsys.readouterr().out


def test_eval_reads_the_real_gsm8k(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from eval.problems.data_folder import data_folder

    folder = data_folder()
    if folder is None or not (folder / "gsm8k_test.jsonl").is_file():
        pytest.skip("RETORT_DATA names no folder with gsm8k_test.jsonl")
    assert cli.main(["eval", f"{run}:student", "--problems", "gsm8k:test", "--n", "3", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)["models"]["student"]["problems"]["gsm8k"]
    assert (numbers["n"], numbers["rollouts"], numbers["ungradable"]) == (3, 1, 0.0)
    assert numbers["pass@1"] == 0.0


def test_a_second_run_makes_nothing_again(
    retort: Callable[..., subprocess.CompletedProcess[str]], smoke: Path, run: Path
) -> None:
    before = {name: found.path.stat().st_mtime_ns for name, found in RunFolder(run).artifacts().items()}
    began = time.perf_counter()
    done = retort(smoke, "run", "smoke")
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - began < 20
    assert {name: found.path.stat().st_mtime_ns for name, found in RunFolder(run).artifacts().items()} == before


@pytest.mark.usefixtures("run")
def test_plan_says_that_all_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "smoke"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(row[0], row[4]) for row in rows] == [(name, "done") for name in STAGES]
    assert cli.main(["plan", "smoke", "--set", "r1.steps=3"]) == 0
    states = {row.split()[0]: "done" in row.split() for row in capsys.readouterr().out.splitlines()[2:]}
    assert {name for name, done in states.items() if not done} == {"r1", "traces", "r1_sft", "student", "score"}


def test_a_model_of_the_run_samples_what_it_sampled(run: Path) -> None:
    """Native and plain engine agree on a trained model as they do on random ones."""
    from eval.engine.plain import PlainEngine
    from pipeline.models import pretrained

    model, tokenizer = pretrained.load(artifact(run, "long"))
    requests = [Request(encode_prompt(tokenizer, QUESTION), list(range(4)))]
    native = engine_for(model, tokenizer).sample(requests, Sampling(24))
    plain = PlainEngine(model, {tokenizer.eos_token_id}, tokenizer.pad_token_id).sample(requests, Sampling(24))
    assert [one.ids for one in native[0]] == [one.ids for one in plain[0]]


def test_the_probe_is_what_the_model_would_write(run: Path) -> None:
    from pipeline.models import pretrained
    from pipeline.training import probe

    model, tokenizer = pretrained.load(artifact(run, "base"))
    rng = random.Random("probe")
    for _ in range(probe.PROBLEMS):  # the word problems' come first
        probe._word_trace(rng)
    traces = [probe._program_trace(rng) for _ in range(probe.PROBLEMS)]
    pairs = [(encode_prompt(tokenizer, prompt), encode_completion(tokenizer, trace, prompt))
             for prompt, trace in traces]
    requests = [Request([*prompt, *trace[: probe.OPENING]], [0]) for prompt, trace in pairs]
    written = engine_for(model, tokenizer).sample(requests, Sampling(64, temperature=0))
    same = [one.ids == trace[probe.OPENING :] for (_, trace), (one,) in zip(pairs, written, strict=True)]
    assert probe.trace_probe(model, tokenizer)()["programs"] == pytest.approx(sum(same) / len(same), abs=1e-6)
    assert 0 < sum(same) < len(same)


@pytest.mark.parametrize("name", recipe.shipped())
def test_every_shipped_recipe_can_be_planned(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "resolve_hub", lambda _: "0" * 40)  # a hub that has every model
    assert cli.main(["plan", name, "--runs", "nowhere"]) == 0
    assert "would run" in capsys.readouterr().out


