"""Foreign code that never returns: told after a while, and ended when it has had its time."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli
from pipeline.run import runner
from pipeline.run.foreign_calls import ForeignCalls, Seen
from rewards import foreign

Write = Callable[..., Path]
STAGE = '''
from typing import ClassVar
from pipeline.stage import ArtifactType, Context, Metrics, Stage
from rewards.grade import grade
from rewards.rubric import Rubric
from rewards.types import Completion, Label, Problem, Verdict

class Ask(Stage):
    """Grades one completion by a verifier and a rule of the user's own."""
    kind: ClassVar[str] = "ask"
    makes: ClassVar[ArtifactType] = "report"
    preload: ClassVar[tuple[str, ...]] = ()
    reward: Rubric = Rubric()

    def run(self, ctx: Context) -> Metrics:
        problem = Problem("p-7", "?", "1", "own.py:verify", "x")
        verdict = grade(problem, Completion("1"))
        ctx.note(f"{verdict.label}: {verdict.reason}")
        return {"reward": self.reward.score(problem, Completion("1"), Verdict(Label.CORRECT)).total}
'''
OWN = '''
import re
import time
from rewards.types import Label, Verdict

def verify(problem, completion):
    {verify}
    return Verdict(Label.CORRECT)

def rule(problem, completion):
    {rule}
    return 1.0
'''
SHORT = "foreign.calling.__wrapped__.__defaults__ = (1.0,)"
HANGS = {"sleeps": "time.sleep(99)", "loops": "while True: pass", "matches": "re.match(r'(a|aa)+$', 'a' * 90 + 'b')"}


def ask(write_recipe: Write, verify: str = "", rule: str = "") -> list[str]:
    path = write_recipe("stages:\n  ask: {kind: 'ask.py:Ask', reward: {rules: {'own.py:rule': 1.0}}}\n")
    path.with_name("ask.py").write_text(STAGE)
    path.with_name("own.py").write_text(OWN.format(verify=verify or "pass", rule=rule or "pass"))
    return ["run", str(path)]


@pytest.mark.parametrize("where", ["verify", "rule"])
@pytest.mark.parametrize("how", HANGS)
def test_a_plug_in_that_never_returns_ends_its_stage_in_one_line(
    write_recipe: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str, how: str
) -> None:
    monkeypatch.setattr(runner, "_LONG", 0.3)
    command = ask(write_recipe, **{where: HANGS[how]})
    # In the stage's process, which sets the limit.
    Path("ask.py").write_text(f"from rewards import foreign\n{SHORT}\n{STAGE}")
    began = time.monotonic()
    assert cli.main(command) == 1
    assert time.monotonic() - began < 60
    told = capsys.readouterr().out
    name = "verifier 'own.py:verify'" if where == "verify" else "rule 'own.py:rule'"
    assert f"{name}, for problem 'p-7', has been at work for" in told
    assert f"failed: {name}, for problem 'p-7', has not returned after 1 seconds" in told


@pytest.mark.parametrize(("where", "code", "said"), [
    ("rule", "return '0.5'", "failed: rule 'own.py:rule', for problem 'p-7', returned '0.5'; a reward is a number"),
    ("rule", "return None", "failed: rule 'own.py:rule', for problem 'p-7', returned None; a reward is a number"),
    (
        "rule", "return float('nan')",
        "failed: rule 'own.py:rule', for problem 'p-7', returned nan; a reward is a finite number",
    ),
    ("rule", "return 1 / 0", "failed: rule 'own.py:rule', for problem 'p-7', failed: ZeroDivisionError"),
    ("verify", "return 'correct'", "ungradable: the verifier failed: TypeError: it returned 'correct' and no Verdict"),
    ("verify", "return 1 / 0", "ungradable: the verifier failed: ZeroDivisionError"),
])
def test_what_a_plug_in_returns_is_looked_at(
    write_recipe: Write, capsys: pytest.CaptureFixture[str], where: str, code: str, said: str
) -> None:
    cli.main(ask(write_recipe, **{where: code}))
    assert said in capsys.readouterr().out


def test_what_is_at_work_is_seen_from_outside(tmp_path: Path) -> None:
    file = tmp_path / "calls"
    runner = Seen(file)
    assert runner.at_work() is None
    assert Seen(tmp_path / "gone" / "calls").at_work() is None
    ForeignCalls(file, 0)
    watch = ForeignCalls(file, 1)  # of the second process of two
    assert runner.at_work() is None
    with foreign.watched_by(watch):
        with foreign.calling("rule 'é'" + "x" * 999, 7.0):
            seen = runner.at_work()
            assert seen is not None
            assert seen.what.startswith("rule 'é'x")
            assert seen.most == 7.0
            assert 0 <= seen.since < 5
        assert runner.at_work() is None
    (tmp_path / "torn-0").write_bytes(b"x")
    assert Seen(tmp_path / "torn").at_work() is None


@pytest.mark.parametrize("booted", [-1e6, 1e6])
def test_a_call_on_a_machine_with_another_clock_is_timed_by_the_runners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, booted: float
) -> None:
    watch, runner = ForeignCalls(tmp_path / "calls", 0), Seen(tmp_path / "calls")
    now = [5e6]

    def begun(what: str) -> None:
        with monkeypatch.context() as there:
            there.setattr(time, "monotonic", lambda: now[0] + booted)
            watch.began(what, 60.0)

    def since() -> float:
        seen = runner.at_work()
        assert seen is not None
        return seen.since

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    begun("a rule")
    assert since() == 0
    now[0] += 40
    assert since() == 40
    begun("a rule")  # another call of it
    now[0] += 1
    assert since() == 0
    now[0] += 2
    assert since() == 2


def test_a_command_ends_whose_plug_in_does_not(tmp_path: Path) -> None:
    (tmp_path / "sets.py").write_text("def s(split, n, seed):\n    while True: pass\n")
    stage = "{kind: evaluate, models: [./m], problems: ['sets.py:s:test']}"
    (tmp_path / "recipe.yaml").write_text(f"stages:\n  z: {stage}\n")
    (tmp_path / "m").mkdir()
    for name, text in {"config.json": "{}", "tokenizer.json": "{}", "model.safetensors": ""}.items():
        (tmp_path / "m" / name).write_text(text)
    script = ("from eval import problems; problems.MAKING = 1.0; from pipeline.commands import cli; "
              "cli.main(['plan', 'recipe.yaml', '--trust'])")
    done = subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True,
                          env=dict(os.environ), timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "retort: problem set 'sets.py:s:test' has not returned after 1 seconds\n"
