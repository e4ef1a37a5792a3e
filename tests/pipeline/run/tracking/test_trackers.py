"""A stage that is killed and goes on, told to all three trackers, and read back from them."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.disk import durable
from pipeline.recipe import trust
from pipeline.run.tracking.tracker import COLUMNS

pytestmark = pytest.mark.xdist_group("trackers")  # which share one run

SECRETS = {"WANDB_API_KEY": "a1b2c3d4e5" * 4, "HF_TOKEN": "hf_never_to_be_written", "MY_PASSWORD": "opensesame"}

RECIPE = """\
name: watched
report_to: [trackio, wandb, tensorboard]
stages:
  first: {kind: "logs.py:Logs"}
"""

STAGE = '''
import os
import signal
from pathlib import Path
from typing import ClassVar

from pipeline.stage import ArtifactType, Context, Metrics, Stage


class Logs(Stage):
    """Logs ten rows, and is killed once, after its checkpoint of step 4 and the row of step 6."""

    kind: ClassVar[str] = "logs"
    makes: ClassVar[ArtifactType] = "report"
    preload: ClassVar[tuple[str, ...]] = ()

    def run(self, ctx: Context) -> Metrics:
        killed = Path(__file__).with_name("killed")
        found = ctx.checkpoints.latest()
        for step in range(found.step + 1 if found else 1, 11):
            ctx.log({"step": step, "loss": 1 / step, "reward/format": step / 8, "note": f"at {step}",
                     "moe/load": {"1": [1.25, 0.75], "busiest": 1.25}, "nothing": None})
            if step % 2 == 1:
                row = {"step": step, "problem": "p-1", "prompt": "1 + 1 = ?", "text": "<script>|*2*", "reward": 1.0,
                       "verdict": "CORRECT", "advantage": 0.5, "pieces": ["<script>"]}
                ctx.keep_rollouts(step, [row] * (70 if step == 9 else 2))
            if step == 4:
                with ctx.checkpoints.writing(step) as folder:
                    (folder / "state").write_text("4")
            if step == 6 and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return {"loss": 0.125, "steps": 10}
'''


class Told(NamedTuple):
    """What a finished run left: its folder, that of trackio's data, and the rows of metrics.jsonl."""

    run: Path
    trackio: Path
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("watched")
    trust.remember([folder])
    (folder / "logs.py").write_text(STAGE)
    (folder / "recipe.yaml").write_text(RECIPE)
    environment = {**os.environ, **SECRETS, "TRACKIO_DIR": str(folder / "trackio"), "WANDB_MODE": "offline",
                   "WANDB_CONFIG_DIR": str(folder / "config"), "WANDB_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-P", "-m", "pipeline.commands.cli", "run", "recipe.yaml"]
    codes = []
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        codes.append(done.returncode)
        assert "could not" not in done.stdout
    assert codes == [1, 0]
    return Told(folder / "runs" / "watched", folder / "trackio",
                durable.rows(folder / "runs" / "watched" / "01-first" / "metrics.jsonl"))


def test_the_stage_was_killed_and_went_on(told: Told) -> None:
    ledger = (told.run / "ledger.jsonl").read_text()
    assert "SIGKILL" in ledger
    assert "goes on from its checkpoint at step 4" in ledger
    assert [row["step"] for row in told.rows] == list(range(1, 11))


def test_trackio_has_each_row_once(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    from trackio import sqlite_storage, utils

    monkeypatch.setattr(utils, "TRACKIO_DIR", told.trackio)
    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", told.trackio)
    storage = sqlite_storage.SQLiteStorage
    [run] = storage.get_run_records("watched")
    assert run["name"] == "watched:first"
    logs = storage.get_logs("watched", "watched:first")
    tables = {log["step"]: log["rollouts"] for log in logs if "rollouts" in log}
    *rows, last = [log for log in logs if "rollouts" not in log]
    assert [{key: value for key, value in row.items() if key != "timestamp"} for row in rows] == told.rows
    assert (last["final/loss"], last["final/steps"]) == (0.125, 10)
    assert {step: len(table["_value"]) for step, table in tables.items()} == {1: 2, 3: 2, 5: 2, 7: 2, 9: 64}
    assert tables[9]["_value"][0] == dict(zip(
        COLUMNS, [9, "p-1", "1 + 1 = ?", "<script>|*2*", "CORRECT", 1.0, 0.5], strict=True))
    config = storage.get_run_config("watched", "watched:first")
    assert (config["stage"], config["kind"], config["_Group"]) == ("first", "logs.py:Logs", "watched")


def test_tensorboard_has_each_row_once(told: Told) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(told.run / "tensorboard" / "first"), size_guidance={"tensors": 0})
    found.Reload()
    values = {tag: [(event.step, event.tensor_proto) for event in found.Tensors(tag)]
              for tag in found.Tags()["tensors"]}
    assert set(values) == {"loss", "reward/format", "note", "moe/load.busiest", "rollouts", "final/loss", "final/steps"}
    for name in ("loss", "reward/format"):
        assert [(step, tensor.float_val[0]) for step, tensor in values[name]] == [
            (row["step"], pytest.approx(row[name], rel=1e-6)) for row in told.rows]  # it keeps four bytes of a number
    assert values["note"][-1][1].string_val[0] == b"    at 10"
    assert values["final/loss"][0][1].float_val[0] == 0.125
    assert [step for step, _ in values["rollouts"]] == [1, 3, 5, 7, 9]
    table = values["rollouts"][-1][1]
    assert [size.size for size in table.tensor_shape.dim] == [65, len(COLUMNS)]
    assert b"    <script>|*2*" in table.string_val  # Markdown shows what is indented as it is


def records(file: Path) -> Iterator[Any]:
    """The records of wandb's file. It has no reader in Python: each record is one or several parts in blocks of 32
    KiB, behind a checksum, a length and a kind (whole 1, first 2, middle 3, last 4)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 2**15 - place % 2**15) < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def test_wandb_has_each_row_once_offline(told: Told) -> None:
    files = sorted((told.run / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda file: file.stat().st_mtime)
    assert len(files) == 2  # one for each attempt, of one run
    assert len({file.name for file in files}) == 1
    rows, tables, summary, runs = [], [], {}, []
    for record in (record for file in files for record in records(file)):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            row: dict[str, Any] = {}
            for item in record.history.item:
                *outer, name = item.nested_key or [item.key]
                inside = row
                for key in outer:
                    inside = inside.setdefault(key, {})
                inside[name] = json.loads(item.value_json)
            if "rollouts" in row:
                tables.append((row["step"], row["rollouts"]["nrows"]))
            else:
                rows.append({key: value for key, value in row.items() if not key.startswith("_")})
        elif kind == "summary":
            summary |= {item.key: json.loads(item.value_json) for item in record.summary.update}
        elif kind == "run":
            runs.append((record.run.project, record.run.run_group, record.run.display_name))
    assert rows == told.rows
    assert tables == [(1, 2), (3, 2), (5, 2), (7, 2), (9, 64)]
    assert (summary["final/loss"], summary["final/steps"]) == (0.125, 10)
    assert set(runs) == {("watched", "watched", "watched:first")}


def test_no_secret_is_written_anywhere(told: Told) -> None:
    files = [file for file in told.run.parent.parent.rglob("*") if file.is_file()]
    assert any(file.suffix == ".wandb" for file in files)
    assert any(file.suffix == ".db" for file in files)
    for file in files:
        assert not any(secret.encode() in file.read_bytes() for secret in SECRETS.values()), file


def test_nothing_of_it_is_in_the_artifact(told: Told) -> None:
    artifact = (told.run / "01-first").resolve()
    assert {file.name for file in artifact.iterdir()} == {"metrics.jsonl", "stage.json"}
    assert "trackio" not in (artifact / "stage.json").read_text()
