"""Every command, with text from outside that would act on a terminal: nothing of it is printed as it is."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.report import reduce
from eval.rollouts import rollouts_file, write_rows
from pipeline.commands import cli
from pipeline.disk import durable
from pipeline.models import pretrained
from pipeline.models.tokenizer import train_tokenizer
from pipeline.store.run_folder import RunFolder
from tests.hostile import body, serving

EVIL = "\x1b[2J\x1b]52;c;eA==\x07\x9b31m\r\u202e\u2066\u200b"
"""Clears the screen, writes to the clipboard, colours, goes back in the line, turns the direction, and hides."""

ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff]")

PLUG_IN = f'''"""{EVIL!r}"""
from typing import ClassVar

from pipeline.stage import ArtifactType, Context, Metrics, Stage, StageError

EVIL = {EVIL!r}


class Good(Stage):
    kind: ClassVar[str] = "good"
    makes: ClassVar[ArtifactType] = "model"
    preload: ClassVar[tuple[str, ...]] = ()

    def run(self, ctx: Context) -> Metrics:
        ctx.progress(1, 2, reward=EVIL)
        ctx.note(EVIL + " noted\\nbad     done in 1s")
        (ctx.out / EVIL).write_text("x")
        return {{EVIL: EVIL, "tokens": EVIL}}


class Bad(Good):
    kind: ClassVar[str] = "bad"

    def run(self, ctx: Context) -> Metrics:
        raise StageError(EVIL + " failed")


class Worse(Good):
    kind: ClassVar[str] = "worse"

    def run(self, ctx: Context) -> Metrics:
        raise ValueError(EVIL + " crashed")


def evil(split, n=None, seed=0):
    raise ValueError(EVIL + " has no problems")
'''


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints, after a look at it."""
    assert cli.main(words) == code
    out, err = capsys.readouterr()
    assert not ACTS.search(out + err), repr(out + err)
    return out + err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    evil = tmp_path / EVIL
    evil.mkdir()
    (evil / "plug_in.py").write_text(PLUG_IN)
    monkeypatch.chdir(evil)
    return evil


def test_commands_on_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = ("--runs", EVIL)
    (folder / f"{EVIL}.yaml").write_text(
        'name: run\nstages:\n  good: {kind: "plug_in.py:Good"}\n  bad: {kind: "plug_in.py:Bad"}\n'
        '  worse: {kind: "plug_in.py:Worse"}\n'
    )
    recipe = str(folder / f"{EVIL}.yaml")
    told = printed(capsys, "run", recipe, *runs, code=1)
    assert "good   \\u001b[2J" in told
    assert " noted bad     done in 1s\n" in told, "no line is made that a stage did not earn"
    assert "\\u202e\\u2066\\u200b failed" in told or "\\u202e\\u2066\\u200b crashed" in told
    assert "\\u001b[2J" in printed(capsys, "plan", recipe, *runs)
    for command in ("status", "report", "verify"):
        assert printed(capsys, command, "run", *runs)
    (folder / EVIL / "artifacts" / f"stray{EVIL}").mkdir()
    (next((folder / EVIL / "run").glob("01-good")) / EVIL).write_text("changed")
    printed(capsys, "verify", "run", *runs, code=1)
    printed(capsys, "clean", *runs)
    printed(capsys, "report", "run", *runs, "--json")
    printed(capsys, "status", EVIL, *runs, code=2)
    printed(capsys, "report", EVIL, *runs, code=2)
    printed(capsys, "plan", EVIL, code=2)
    printed(capsys, "list", EVIL, code=2)
    printed(capsys, EVIL, code=2)
    printed(capsys, "new", "rule", "my_rule", "--folder", str(folder))
    printed(capsys, "new", "rule", EVIL, code=2)
    printed(capsys, "doctor")
    printed(capsys, "list")


def test_recipes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    escapes = json.dumps(EVIL)[1:-1]
    for text in (
        f'name: "{escapes}"\nstages: {{}}\n', f'stages:\n  "{escapes}": {{kind: sft}}\n', EVIL, f'"{escapes}": 5\n',
        f'stages:\n  a: {{kind: "{escapes}"}}\n', f'stages:\n  a: {{kind: "plug_in.py:{escapes}"}}\n',
        f'stages:\n  a: {{kind: "plug_in.py:Good", "{escapes}": "{escapes}"}}\n',
    ):
        (folder / "recipe.yaml").write_text(text)
        printed(capsys, "plan", "recipe.yaml", code=2)
    printed(capsys, "plan", "smoke", "--set", f"base.{EVIL}={EVIL}", code=2)


def test_grades(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    rows = [{"verifier": "math", "answer": "5", "completion": EVIL}, {"verifier": EVIL}, {"verifier": 5}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows) + EVIL)
    assert cli.main(["grade", "rows.jsonl", "--jobs", "1"]) == 0
    out, err = capsysbinary.readouterr()
    assert json.loads(out)["completion"] == EVIL, "into a file or a pipe go the bytes"
    assert not ACTS.search(err.decode())
    assert "there is no verifier called" in err.decode()


@pytest.mark.usefixtures("folder")
def test_servers_and_problem_sets(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("eval", f"org/{EVIL}", "--n", "1", "--tries", "1", "--problems")
    with serving(body(EVIL.encode(), b"500 No")) as server:
        told = printed(capsys, *asked, "word_problems:test", "--server", server.url, "--out", f"out{EVIL}", code=1)
        assert "HTTP 500 \\u001b[2J" in told
        assert told.count("\n") == 1
    with serving(body(EVIL.encode(), b"400 No")) as server:
        printed(capsys, *asked, "word_problems:test", "--server", server.url, "--out", f"more{EVIL}", code=2)
    answer = json.dumps({"choices": [{"message": {"content": EVIL}}]}).encode()
    with serving(body(answer)) as server:
        told = printed(capsys, *asked, "word_problems:test", "--server", server.url, "--out", f"last{EVIL}")
        assert "report and rollouts: last\\u001b" in told
    printed(capsys, *asked, "word_problems:test", "--server", EVIL, code=2)
    printed(capsys, *asked, "plug_in.py:evil", "--server", "http://127.0.0.1:9", code=2)
    printed(capsys, *asked, f"{EVIL}:test", "--server", "http://127.0.0.1:9", code=2)
    printed(capsys, "eval", EVIL, "--problems", "word_problems:test", code=2)
    printed(capsys, "eval", "x", "--problems", EVIL, "--suite", EVIL, code=2)


def test_measurements(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"problem": f"p{i}{EVIL}", "verdict": "correct" if i % 2 else "wrong", "extracted": EVIL, "tokens": 9,
             "format": True, "readable": True} for i in range(6)]
    run = RunFolder(folder / "runs" / "one")
    run.begin("first", {"file": EVIL, "overrides": [], "stages": {EVIL: {}, "score": {}}}, f"retort run {EVIL}")
    made = folder / "runs" / "artifacts" / "score-0"
    made.mkdir(parents=True)
    for name in ("a", EVIL):
        write_rows(made / rollouts_file(name, EVIL), rows)
    models = {name: {"parameters": 1, "problems": {EVIL: reduce(rows)}, "protocol": {EVIL: {"stop": [EVIL]}}}
              for name in ("a", EVIL)}
    durable.write_json(made / "report.json", {"models": models})
    durable.write_json(made / "stage.json", {
        "name": "score", "kind": EVIL, "makes": "report", "fingerprint": "0", "seconds": 1.0, "config": {},
        "inputs": {}, "metrics": {EVIL: EVIL}, "files": {},
    })
    run.link(1, "score", made)
    run.record("score", event="failed", message=EVIL)
    assert "not made yet: \\u001b" in printed(capsys, "report", "one")
    printed(capsys, "report", "one", "--json")
    printed(capsys, "compare", "one:a", f"one:{EVIL}")
    printed(capsys, "compare", "one", "one")
    printed(capsys, "compare", "one:a", f"one:none{EVIL}", code=2)
    printed(capsys, "status", "one", code=2)


def test_models(
    folder: Path, tiny: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = train_tokenizer(["What is one and two ?"] * 3, 64)
    pretrained.save(tiny("qwen3_moe", vocab_size=len(tokenizer)), tokenizer, folder / "some")
    capsys.readouterr()
    monkeypatch.setattr("pipeline.commands.ask.model_of", lambda _: (folder / "some", EVIL))
    monkeypatch.setattr("pipeline.commands.ask.AnswerReader.text", lambda *_, **__: f"<think>{EVIL}</think>{EVIL}")
    told = printed(capsys, "ask", "run", "some", f"What {EVIL} is one ?", "--max-tokens", "4")
    assert "thinking  \\u001b[2J" in told
    assert "answer    \\u001b[2J" in told
    assert "has never seen: \\u001b" in told
    Path(f"{EVIL}.txt").write_text("one and two\n" * 3)
    assert "\\u001b[2J" in printed(capsys, "experts", str(folder / "some"), f"{EVIL}.txt")
    printed(capsys, "experts", str(folder / "some"), f"none{EVIL}.txt", code=2)
