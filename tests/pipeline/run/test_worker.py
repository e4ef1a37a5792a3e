import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands import cli
from pipeline.disk import durable
from pipeline.disk.locks import Lock
from pipeline.run import worker
from pipeline.stage import Stage
from pipeline.store.run_folder import RunFolder
from tests.pipeline.run.test_job import a_job


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.text(max_size=20), st.text(max_size=20))
def test_streams_of_different_stages_and_seeds_differ(seed: int, other: int, name: str, another: str) -> None:
    one, two = worker.stage_seed(seed, name), worker.stage_seed(other, another)
    assert 0 <= one < 2**31
    assert (one == two) == ((seed, name) == (other, another))


def test_a_worker_without_its_runner_does_nothing(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    a_job(tmp_path, token="old").write(job)
    with Lock(tmp_path / "lock", token="new"):
        assert worker.run_job(job) == 1
    assert worker.run_job(job) == 1
    assert not (tmp_path / "events.jsonl").exists()


def test_what_a_stage_preloads_can_be_loaded() -> None:
    import importlib.util

    for module in Stage.preload:
        assert importlib.util.find_spec(module.partition(".")[0]) is not None


STAGE = '''
import sys
from pathlib import Path
from typing import ClassVar
import numpy
import torch
from pipeline.stage import ArtifactType, Context, Metrics, Stage

class Odd(Stage):
    """Does what no stage should."""
    kind: ClassVar[str] = "odd"
    makes: ClassVar[ArtifactType] = "report"
    preload: ClassVar[tuple[str, ...]] = ("torch",)

    def run(self, ctx: Context) -> Metrics:
        {code}
'''


def run_odd(write_recipe: Callable[..., Path], code: str) -> int:
    path = write_recipe("name: odd\nstages:\n  odd: {kind: 'odd.py:Odd'}\n")
    path.with_name("odd.py").write_text(STAGE.format(code=code))
    return cli.main(["run", str(path)])


@pytest.mark.parametrize(("code", "said"), [
    ("pass", "`run` returned None; it returns its metrics, such as {'loss': 0.5}"),
    ("return 5", "`run` returned 5; it returns its metrics"),
    ("return {'a': object()}", "'a' is a object, which is no number, text, list or mapping"),
    ("return {'a': {'b': [1j]}}", "'a.b' is a complex, which is no number, text, list or mapping"),
    ("return {'a': torch.ones(2)}", "'a' is a Tensor that is not one number"),
    ("ctx.log({'a': b'x'}); return {}", "'a' is a bytes, which is no number"),
    ("import shutil; shutil.rmtree(ctx.out); return {}", "the stage removed `ctx.out`"),
    ("sys.exit(0)", "its process ended with code"),
    ("import os; os._exit(0)", "its process ended with code 0"),
    ("a = []; a.append(a); return {'a': a}", "RecursionError"),
])
def test_a_stage_that_misbehaves_fails_in_one_line_and_leaves_no_artifact(
    write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    assert run_odd(write_recipe, code) == 1
    told = capsys.readouterr().out
    line = next(line for line in told.splitlines() if "failed: " in line)
    assert said in line
    assert not list(Path("runs/artifacts").glob("odd-*"))
    assert cli.main(["report", "odd"]) == 0
    assert cli.main(["status", "odd"]) == 0


def test_numbers_that_json_does_not_know_are_kept_as_null_and_told(
    write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code = ("ctx.progress(float('nan'), 1, loss=float('inf')); ctx.progress(1, 1, loss=float('inf')); "
            "ctx.log({'loss': float('nan')}); "
            "return {'loss': float('nan'), 'most': numpy.float32('inf'), 'n': numpy.int64(3), 'is': numpy.bool_(True), "
            "'one': torch.tensor(2.5), 'tokens': 'many', 'expert_load_max_over_mean': 'high'}")
    assert run_odd(write_recipe, code) == 0
    told = capsys.readouterr().out
    assert "metric 'loss' is nan, and is kept as null" in told
    artifact = RunFolder(Path("runs/odd")).artifacts()["odd"]
    assert artifact.manifest["metrics"] == {
        "loss": None, "most": None, "n": 3, "is": True, "one": 2.5, "tokens": "many",
        "expert_load_max_over_mean": "high",
    }
    assert durable.rows(artifact.path / "metrics.jsonl") == [{"loss": None}]
    (artifact.path / "report.json").write_text('{"models": {}}')  # as `evaluate` leaves one
    assert cli.main(["report", "odd"]) == 0
    assert cli.main(["report", "odd", "--json"]) == 0


WITH_A_CHECKPOINT = '''
import time
from typing import Annotated, ClassVar
from pipeline.stage import ArtifactType, Context, Metrics, ModelInput, NotInFingerprint, Stage, StageError

class Clock(Stage):
    """Makes other bytes each time."""
    kind: ClassVar[str] = "clock"
    makes: ClassVar[ArtifactType] = "model"
    preload: ClassVar[tuple[str, ...]] = ()

    def run(self, ctx: Context) -> Metrics:
        (ctx.out / "time").write_text(str(time.time_ns()))
        return {}

class Odd(Stage):
    """Makes a checkpoint, fails, and tells when it is run again which one it goes on from."""
    kind: ClassVar[str] = "odd"
    makes: ClassVar[ArtifactType] = "report"
    preload: ClassVar[tuple[str, ...]] = ()
    at_once: Annotated[int | None, NotInFingerprint(of_checkpoints=True)] = None
    model: ModelInput | None = None

    def run(self, ctx: Context) -> Metrics:
        found = ctx.checkpoints.latest()
        if found is None:
            with ctx.checkpoints.writing(3):
                pass
            raise StageError("no room")
        return {"step": found.step}
'''


def test_a_field_of_checkpoints_is_changed_between_two_attempts(
    write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_recipe("name: odd\nstages:\n  odd: {kind: 'odd.py:Odd'}\n")
    path.with_name("odd.py").write_text(WITH_A_CHECKPOINT)
    assert cli.main(["run", str(path)]) == 1
    less = ["run", str(path), "--set", "odd.at_once=2"]
    assert cli.main(less) == 1
    assert "its checkpoint step-3 was made with at_once None, now 2: going on would not" in capsys.readouterr().out
    assert cli.main([*less, "--inexact"]) == 0
    assert "goes on inexactly: step-3 was made with at_once None, now 2" in capsys.readouterr().out


def test_a_checkpoint_is_not_gone_on_from_with_another_input(
    write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    stages = "  base: {kind: 'odd.py:Clock'}\n  odd: {kind: 'odd.py:Odd', model: base}\n"
    path = write_recipe(f"name: odd\nstages:\n{stages}")
    path.with_name("odd.py").write_text(WITH_A_CHECKPOINT)
    assert cli.main(["run", str(path)]) == 1
    shutil.rmtree(RunFolder(Path("runs/odd")).artifacts()["base"].path)
    capsys.readouterr()
    assert cli.main(["run", str(path)]) == 1
    assert "its checkpoint step-3 was made with bytes of base " in capsys.readouterr().out
    assert cli.main(["run", str(path), "--inexact"]) == 0


EDITS = '''
from pathlib import Path
from typing import Annotated, ClassVar
from pipeline.stage import ArtifactType, Asks, Context, DatasetInput, Metrics, PlugIn, ReportInput, Stage

class Edit(Stage):
    """Adds a line to a file beside the recipe, at its first attempt."""
    kind: ClassVar[str] = "edit"
    makes: ClassVar[ArtifactType] = "report"
    preload: ClassVar[tuple[str, ...]] = ()
    edits: str = ""
    adds: str = ""

    def run(self, ctx: Context) -> Metrics:
        if self.edits and not Path("edited").exists():
            Path("edited").touch()
            with Path(self.edits).open("a") as file:
                file.write(self.adds)
        return {}

class Use(Edit):
    """The same, with an input and plug-ins."""
    data: DatasetInput = "rows.jsonl"
    rule: Annotated[str, PlugIn("rule")] = "rules.py:short"
    asked: Annotated[str, PlugIn("problem set")] = "mine.jsonl"
    reports: list[ReportInput] = []

    def asks(self, seed: int) -> list[Asks]:
        return [Asks(self.asked, None, 0, "test")]
'''
BESIDE = {
    "edit.py": EDITS,
    "rows.jsonl": '{"prompt": "a", "completion": "b"}\n',
    "rules.py": 'READS = ["words.txt"]\ndef short(problem, completion): return 1.0\n',
    "words.txt": "few\n",
    "judge.py": "def fair(problem, completion): return None\n",
    "mine.jsonl": '{"prompt": "1 + 1?", "answer": "2", "verifier": "judge.py:fair"}\n',
}


@pytest.mark.parametrize(("stage", "file", "adds", "said"), [
    ("first", "rows.jsonl", '{"prompt": "c", "completion": "d"}\n', "rows.jsonl"),
    ("first", "judge.py", "# other\n", "mine.jsonl"),
    ("second", "edit.py", "not Python", "edit.py:Use"),
    ("second", "words.txt", "more\n", "rules.py:short"),
])
def test_what_is_edited_during_a_run_is_in_no_artifact_of_what_was_there_before(
    write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str], stage: str, file: str, adds: str, said: str
) -> None:
    edits = f"edits: {file}, adds: {json.dumps(adds)}"
    path = write_recipe(f"""name: odd
stages:
  first: {{kind: 'edit.py:Edit', {edits if stage == 'first' else ''}}}
  second: {{kind: 'edit.py:Use', reports: [first], {edits if stage == 'second' else ''}}}
""")
    for name, text in BESIDE.items():
        path.with_name(name).write_text(text)
    assert cli.main(["run", str(path)]) == 1
    assert f"{said} was edited since the run began; run it again" in capsys.readouterr().out
    assert not list(Path("runs/artifacts").glob("second-*"))
    path.with_name(file).write_text(BESIDE[file])
    assert cli.main(["run", str(path)]) == 0
    assert list(Path("runs/artifacts").glob("second-*"))
