"""`retort eval` with tools: asked as a recipe's `tools` section asks, and refused as it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.problems import load
from pipeline.commands import cli
from pipeline.models import pretrained
from pipeline.models.tokenizer import train_tokenizer
from pipeline.stages.evaluate import Evaluate

DOUBLE = '''
def double(number: int) -> int:
    """Twice a number.

    Args:
        number: The number.
    """
    return 2 * number
'''
FEW = ["--problems", "word_problems:test", "--n", "2", "--rollouts", "16", "--temperature", "1.6", "--max-tokens", "24"]


@pytest.fixture
def model(tiny: Callable[..., Any], tmp_path: Path) -> Path:
    """A random one of few words, which writes a call now and then."""
    texts = [f"{problem.prompt}\ncalculator double <call>calculator 3</call><result>3</result>"
             for problem in load("word_problems:test", 8)]
    tokenizer = train_tokenizer(texts, 64)
    pretrained.save(tiny("qwen3", vocab_size=len(tokenizer), initializer_range=0.05), tokenizer, tmp_path / "some")
    return tmp_path / "some"


def test_a_model_is_asked_with_tools_as_the_stage_asks_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(DOUBLE)
    asked = ["eval", str(model), *FEW, "--tools", "calculator", "mine.py:double", "--turns", "2", "--observation", "4"]
    assert cli.main([*asked, "--out", "out"]) == 0
    told = json.loads(Path("out/report.json").read_text())["models"]["some"]["protocol"]["word_problems"]
    rows = [json.loads(line) for line in Path("out/some-word_problems.jsonl").read_text().splitlines()]
    called = [row for row in rows if row.get("observations")]
    assert called
    assert all(row["text"][begin:end].startswith("<result>") for row in called for begin, end in row["observations"])
    ctx = context(some=model)
    Evaluate.model_validate({
        "models": ["some"], "problems": ["word_problems:test"], "problems_each": 2, "rollouts": 1,
        "max_completion_tokens": 24, "tools": {"use": ["calculator", "mine.py:double"], "turns": 2, "observation": 4},
    }).run(ctx)
    stage = json.loads((ctx.out / "report.json").read_text())["models"]["some"]["protocol"]["word_problems"]
    assert told["tools"] == ["calculator", "mine.py:double"]
    same = ("tools", "turns", "observation", "prompts_sha256", "stop")
    assert {name: told[name] for name in same} == {name: stage[name] for name in same}

    assert cli.main([*asked, "--out", "out"]) == 0
    Path("mine.py").write_text(DOUBLE.replace("2 * number", "3 * number"))
    assert cli.main([*asked, "--out", "out"]) == 2, "an edited tool is another evaluation"


def test_what_was_asked_wrongly_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for flags, expected in (
        (["--turns", "2"], "--turns is about tools, and there are none; give --tools"),
        (["--tools", "calculater"], "there is no tool called 'calculater'; did you mean 'calculator'?"),
        (["--tools", "calculator", "calculator"], "two tools have one name"),
        (["--tools", "none.py:f"], "none.py"),
        (["--tools", "calculator", "--turns", "0"], "--turns: Input should be greater than or equal to 1"),
        (["--tools", "search"], "documents is the folder that the tool search looks in: give both, or neither"),
        (["--tools", "search", "--documents", "empty"], "empty has no document"),
        (["--tools", "calculator", "--thinking-budget", "8"], "tools and a thinking budget do not go together yet"),
        (["--tools", "calculator", "--stop", "x"], "a tool may say what stops an answer"),
        (["--tools", "calculator", "--server", "http://x"], "tools need the model's own engine"),
    ):
        assert cli.main(["eval", str(model), *FEW, *flags]) == 2, flags
        *_, line = capsys.readouterr().err.splitlines()
        assert expected in line
    assert not Path("evals").exists()
