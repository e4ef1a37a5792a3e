"""`retort eval` on a small random model: the same file twice, and after being killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.problems import load
from eval.scaling import efforts_table
from pipeline.commands import cli
from pipeline.commands import eval as eval_command
from pipeline.contract.errors import CommandError
from pipeline.disk.locks import Lock
from pipeline.models import pretrained
from pipeline.models.tokenizer import train_tokenizer
from pipeline.stages.evaluate import Evaluate
from tests.hostile import BODIES, RAW, STRANGE, body, serving


@pytest.fixture
def model(tiny: Callable[..., Any], tmp_path: Path) -> Path:
    texts = [p.prompt + " <think>So 3.</think><answer>3</answer>" for p in load("word_problems:test", 40)]
    tokenizer = train_tokenizer(texts, 64)
    pretrained.save(tiny("qwen3", vocab_size=len(tokenizer), initializer_range=0.05), tokenizer, tmp_path / "some")
    return tmp_path / "some"


def words(model: Path, out: Path, *more: str) -> list[str]:
    return [
        "eval", str(model), "--problems", "word_problems:test", "--n", "80", "--rollouts", "8", "--max-tokens", "36",
        "--out", str(out), *more
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_evaluation_twice_is_the_same_files(model: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        drawn = ["--top-p", "0.9", "--top-k", "40", "--min-p", "0.01"]
        assert cli.main(words(model, tmp_path / name, *drawn, "--open-thinking", "--best-by", "format")) == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert set(files(tmp_path / "one")) == {"evaluation.json", "report.json", "some-word_problems.jsonl"}
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    told = report["models"]["some"]
    asked = {"top_p": 0.9, "top_k": 40, "min_p": 0.01, "open_thinking": True, "rollouts": 8}
    assert told["protocol"]["word_problems"] | asked == told["protocol"]["word_problems"]
    assert len(told["model"]["sha256"]) == 64
    assert report["versions"]["torch"]
    assert [point["k"] for point in told["curves"]["word_problems"]] == [1, 2, 4, 8]
    assert {"vote", "best", "rule", "tokens"} <= set(told["curves"]["word_problems"][0])


def test_a_model_is_drawn_from_on_this_machines_gpu(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(model: Any, *_: object) -> None:
        raise CommandError(f"drawn from on {model.device.type}")

    monkeypatch.setattr(eval_command, "own_device", lambda: torch.device("meta"))  # in the place of a GPU
    monkeypatch.setattr(eval_command, "engine_for", refuse)
    assert cli.main(words(model, tmp_path / "out")) == 2
    assert "drawn from on meta" in capsys.readouterr().err


def test_killed_and_started_again_is_the_same_files(model: Path, tmp_path: Path) -> None:
    assert cli.main(words(model, tmp_path / "whole")) == 0
    out = tmp_path / "killed"
    errors = tmp_path / "errors"
    with errors.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-P", "-m", "pipeline.commands.cli", *words(model, out)],
                                   env=os.environ, stdout=subprocess.DEVNULL, stderr=stream)
    partial = out / "some-word_problems.jsonl.partial"
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if partial.is_file() and partial.stat().st_size:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "report.json").exists()
    assert errors.read_text() == "", "no bar of a library that loads weights"
    assert cli.main(words(model, out)) == 0
    assert files(out) == files(tmp_path / "whole")


def test_without_a_folder_it_finds_its_own_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [
        "eval", str(model), "--problems", "word_problems:test", "--n", "4", "--budgets", "4,8",
        "--max-tokens", "16"
    ]
    assert cli.main(asked) == 0
    (folder,) = (tmp_path / "evals").iterdir()
    out = capsys.readouterr().out
    assert f"report and rollouts: evals/{folder.name}" in out
    assert out.count("word_problems       -       ") == 3, "freely, and with each budget"
    before = files(folder)
    assert set(before) == {
        "evaluation.json", "report.json", "some-word_problems.jsonl", "some-word_problems thinking 4.jsonl",
        "some-word_problems thinking 8.jsonl"
    }
    assert cli.main(asked) == 0
    assert files(folder) == before
    assert cli.main([*asked, "--seed", "1"]) == 0
    assert len(list((tmp_path / "evals").iterdir())) == 2


def test_an_evaluation_that_another_process_is_at_work_on_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = ["eval", str(model), "--problems", "word_problems:test", "--n", "2", "--max-tokens", "4", "--out", str(out)]
    with Lock(out / "lock"):
        assert cli.main(asked) == 1
        told = capsys.readouterr().err
        assert f"{out}: process {os.getpid()} on " in told
        assert told.endswith(" is at work on this evaluation; wait for it, or give another --out\n")
    assert cli.main(asked) == 0
    assert set(files(out)) == {"evaluation.json", "report.json", "some-word_problems.jsonl"}


def test_efforts_and_budgets_are_asked_as_the_stage_asks_them(
    model: Path, tmp_path: Path, context: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["eval", str(model), "--problems", "word_problems:test", "--n", "3", "--temperature", "0", "--max-tokens",
             "12", "--effort", "low,high", "--budgets", "4,8", "--out", str(tmp_path / "out")]
    assert cli.main(asked) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())["models"]["some"]
    ctx = context(some=model)
    Evaluate.model_validate({
        "models": ["some"], "problems": ["word_problems:test"], "problems_each": 3, "rollouts": 1, "temperature": 0.0,
        "max_completion_tokens": 12, "effort": ["low", "high"], "budgets": [4, 8],
    }).run(ctx)
    stage = json.loads((ctx.out / "report.json").read_text())["models"]["some"]
    assert found["efforts"] == stage["efforts"]
    assert [*found["problems"]] == [*stage["problems"]]
    assert len(found["problems"]) == 6
    assert all(point["thinking"] <= (point["budget"] or 12) for point in found["efforts"]["word_problems"])
    out = capsys.readouterr().out
    assert efforts_table({"some": found["efforts"]}) in out


def test_one_budget_for_every_effort(model: Path, tmp_path: Path) -> None:
    asked = ["eval", str(model), "--problems", "word_problems:test", "--n", "2", "--max-tokens", "12", "--effort",
             "medium", "--thinking-budget", "4", "--out", str(tmp_path / "out")]
    assert cli.main(asked) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())["models"]["some"]
    assert [(one["effort"], one["budget"]) for one in found["efforts"]["word_problems"]] == [("medium", 4)]
    assert [*found["problems"]] == ["word_problems medium"]


def test_a_server_is_told_of_an_effort(tmp_path: Path) -> None:
    asked = ["eval", "org/some", "--problems", "word_problems:test", "--n", "1", "--effort", "low,high"]
    said = {"choices": [{"message": {"content": "<think>So 3.</think><answer>3</answer>"}, "finish_reason": "stop"}]}
    with serving(body(json.dumps(said).encode())) as server:
        assert cli.main([*asked, "--server", server.url, "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())["models"]["some"]
    told = {name: one["template_options"] for name, one in found["protocol"].items()}
    assert told == {f"word_problems {effort}": {"reasoning_effort": effort} for effort in ("low", "high")}


@pytest.mark.parametrize(("flag", "text", "said"), [
    ("--effort", "low,hihg", "'hihg' is no effort; give some of low, medium, high with commas between them"),
    ("--effort", "low,low", "low is named twice"),
    ("--budgets", "8,x", "'x' is no number of tokens; give some with commas between them"),
    ("--budgets", "0", "'0' is no number of tokens"),
    ("--budgets", "8,08", "8 is named twice"),
])
def test_a_list_that_is_none_is_told(flag: str, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["eval", "org/some", "--problems", "word_problems:test", flag, text])
    assert f"argument {flag}: {said}" in capsys.readouterr().err


SETS = """
from rewards.types import Problem

def riddles(split, n, seed):
    return [Problem(id="1", prompt="Tom has 3 apples.", answer="1", verifier="ver.py:v", family="x")]
"""
VERIFIER = """
from rewards.types import Label, Verdict

def v(problem, completion):
    return Verdict(Label.CORRECT)
"""
RULE = "def best(problem, completion):\n    return 1.0\n"


@pytest.mark.parametrize("file", ["ver.py", pytest.param("rule.py", marks=pytest.mark.faults)])
def test_an_edited_plug_in_is_another_evaluation(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retort: Callable[..., Any], file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"sets.py": SETS, "ver.py": VERIFIER, "rule.py": RULE}.items():
        Path(name).write_text(text)
    command = ["eval", str(model), "--problems", "sets.py:riddles:test", "--rollouts", "2", "--best-by", "rule.py:best"]
    assert cli.main(command) == cli.main(command) == 0
    (first,) = Path("evals").iterdir()
    Path(file).write_text(Path(file).read_text().replace("CORRECT", "WRONG").replace("1.0", "2.0"))
    done = retort(tmp_path, *command)  # in a process of its own, since this one has loaded the plug-ins
    assert done.returncode == 0, done.stderr
    (second,) = set(Path("evals").iterdir()) - {first}
    reports = [json.loads((folder / "report.json").read_text())["models"]["some"] for folder in (first, second)]
    scores = [report["problems"]["sets.py:riddles"]["pass@1"] for report in reports]
    assert scores == ([1.0, 0.0] if file == "ver.py" else [1.0, 1.0])


def test_what_was_asked_wrongly_is_one_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words(model, tmp_path / "one")) == 0
    capsys.readouterr()
    some = ["eval", str(model), "--problems", "word_problems:test", "--n", "2"]
    (tmp_path / "trls.py").write_text("def size(completions, **_):\n    return [len(completions)] * len(completions)\n")
    for given, expected in (
        (words(model, tmp_path / "one", "--seed", "1"), "holds another evaluation (protocol.word_problems"),
        (["eval", str(model)], "say what to ask"),
        (["eval", str(model), "--suite", "r2"], "there is no suite 'r2'; did you mean 'r1'?"),
        ([*some, "--top-p", "0"], "--top-p must lie above 0"),
        ([*some, "--top-k", "-1"], "--top-k must be at least 0"),
        ([*some, "--min-p", "1"], "--min-p must be at least 0 and below 1"),
        ([*some, "--effort", "low", "--template-option", "enable_thinking=true"], "--effort sets the template's"),
        ([*some, "--effort", "low", "--server", "http://x", "--template", "qa"], "told of an effort by reasoning_"),
        ([*some, "--budgets", "8,64"], "a thinking budget of 64 leaves nothing of --max-tokens 64 for the answer"),
        ([*some, "--thinking-budget", "100"], "a thinking budget of 100 leaves nothing of --max-tokens 64"),
        ([*some, "--thinking-budget", "0"], "--thinking-budget must be at least 1, not 0"),
        ([*some, "--budgets", "8", "--thinking-budget", "4"], "--budgets asks freely and with each budget, and"),
        (["eval", str(model), "--problems", "math500:test", "--shots", "1", "--data", str(tmp_path)], "math500"),
        ([*some, "--temperature", "nan"], "--temperature must be at least 0, not nan"),
        ([*some, "--best-by", "length"], "--best-by: rule 'length' needs the option 'most'"),
        ([*some, "--best-by", "formt"], "--best-by: there is no rule called 'formt'; did you mean 'format'?"),
        ([*some, "--server", "http://x", "--best-by", "confidence"], "confidence is known of models in this process"),
        ([*some, "--server", "http://x", "--rollouts", "2", "--best-by", "trl:trls.py:size"],
         "compares the rollouts of a problem, and a"),
        ([*some, "--server", "http://x", "--dtype", "bfloat16"], "--dtype and --engine are of a model in this process"),
        ([*some, "--jobs", "2", "--tries", "1"], "--jobs and --tries: only with --server; leave them out"),
        ([*some, "--server", "nowhere"], "is no URL of a server"),
        ([*some, "--server", "http://x", "--timeout", "0"], "--timeout must be a number of seconds above 0"),
        ([*some, "--server", "http://x", "--timeout", "nan"], "--timeout must be a number of seconds above 0"),
    ):
        assert cli.main(given) == 2
        *_, line = capsys.readouterr().err.splitlines()  # before it transformers may say that it loads the weights
        assert expected in line


@pytest.mark.parametrize(("gives", "said"), [
    ("None", "returned None; a reward is a number"), ("float('nan')", "returned nan"), ("1 / 0", "ZeroDivisionError"),
])
def test_a_rule_that_gives_no_number_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gives: str,
    said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chooses.py").write_text(f"def best(problem, completion):\n    return {gives}\n")
    assert cli.main(words(model, tmp_path / "out", "--best-by", "chooses.py:best")) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("problems", ["word_problems:test", "gsm8k:test"])
def test_a_model_that_is_not_there_is_what_is_told(problems: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The hub has no problems here either, which is not what was asked wrongly first."""
    for name, expected in (
        ("NOSUCH", "there is no model at 'NOSUCH'; give a folder, a .gguf file, RUN:STAGE"),
        ("org/NOSUCH", "model 'org/NOSUCH' is not in the hub cache"),
        ("NOSUCH:zero", "NOSUCH: there is no such run in runs"),
    ):
        assert cli.main(["eval", name, "--problems", problems, "--n", "2"]) == 2
        err = capsys.readouterr().err
        assert err.startswith(expected)
        assert err.count("\n") == 1


@pytest.mark.parametrize("what", RAW)
def test_a_hostile_server_is_one_line(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("eval.server.LONGEST_WAIT", 0.1)
    asked = ["eval", "org/some", "--problems", "word_problems:test", "--n", "1", "--tries", "1", "--timeout", "0.5"]
    with serving(RAW[what]) as server:
        assert cli.main([*asked, "--server", server.url, "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("some on word_problems: 1 of 1 rollouts were not answered (at last: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("what", BODIES)
def test_an_answer_that_is_none_is_one_line(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["eval", "org/some", "--problems", "word_problems:test", "--n", "1", "--tries", "1"]
    with serving(body(BODIES[what])) as server:
        assert cli.main([*asked, "--server", server.url, "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_answer_is_counted(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["eval", "org/some", "--problems", "word_problems:test", "--n", "1", "--tries", "1"]
    content, text = STRANGE[what]
    with serving(body(content)) as server:
        assert cli.main([*asked, "--server", server.url, "--out", str(tmp_path / "out")]) == 0
    assert "pass@1" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "some-word_problems.jsonl").read_text())["text"] == text


def test_a_server_that_is_not_there_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["eval", "org/some", "--problems", "word_problems:test", "--n", "2", "--server", "http://127.0.0.1:9",
             "--tries", "1",
             "--out", str(tmp_path / "out")]
    assert cli.main(asked) == 1
    err = capsys.readouterr().err
    assert "some on word_problems: 2 of 2 rollouts were not answered (at last: " in err
    assert err.count("\n") == 1


def test_how_a_question_is_put_is_part_of_the_protocol(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--n", "4", "--rollouts", "1"]
    told = []
    for number, more in enumerate(([], ["--instruction", "Say it."], ["--instruction", ""], ["--stop", "3", "4"])):
        assert cli.main(words(model, tmp_path / str(number), *few, *more)) == 0
        report = json.loads((tmp_path / str(number) / "report.json").read_text())
        told.append(report["models"]["some"]["protocol"]["word_problems"])
    assert [one["instruction"] for one in told] == [None, "Say it.", None, None]
    assert [one["stop"] for one in told] == [[], [], [], ["3", "4"]]
    assert told[0]["prompts_sha256"] == told[2]["prompts_sha256"] != told[1]["prompts_sha256"]
    capsys.readouterr()
    for more, expected in (
        (["--system", "Be right."], "leaves the system prompt out"),
        (["--template-option", "enable_thinking=false"], "no option 'enable_thinking'; it knows none"),
        (["--template-option", "tokenize=true"], "template_options cannot set tokenize"),
        (["--template-option", "enable_thinking=false", "--open-thinking"], "open_thinking asks for thinking"),
        (["--template", "r1", "--template-option", "a=1"], "template_options are for a chat template"),
        (["--stop", ""], "--stop: String should have at least 1 character"),
    ):
        assert cli.main(words(model, tmp_path / "refused", *few, *more)) != 0
        said = capsys.readouterr().err
        assert expected in said
        assert "Traceback" not in said


def test_what_does_not_fit_in_the_context_is_told_and_asked(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = model / "model" / "config.json" if (model / "model").is_dir() else model / "config.json"
    context = json.loads(config.read_text())["max_position_embeddings"]
    for tokens, told in ((1, False), (context, True)):
        command = ["eval", str(model), "--problems", "word_problems:test", "--n", "3", "--max-tokens", str(tokens)]
        assert cli.main([*command, "--out", str(tmp_path / str(tokens))]) == 0
        assert ("3 of 3 prompts, the longest of " in capsys.readouterr().err) == told
