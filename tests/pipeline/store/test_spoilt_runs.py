"""Folders of runs with spoilt metadata, of somebody else or from a broken disk: whatever is in them, looking at them
ends in lines and never in a traceback, and `clean` removes nothing of a stage that is linked."""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands import cli
from pipeline.disk import durable

Write = Callable[..., Path]
RECIPE = """
stages:
  base: {kind: 'tiny.py:Make'}
  score: {kind: 'tiny.py:Score', model: base}
"""
VALUES: tuple[object, ...] = (None, -1, 1e999, "x", "\ud800\x1b]0;x\x07", [], [{}], {}, {"x": [3]}, True)
COMMANDS = (["status", "recipe"], ["report", "recipe"], ["report", "recipe", "--json"], ["verify", "recipe"],
            ["plan", "recipe.yaml"], ["clean", "--delete"], ["compare", "recipe:m", "recipe:n"])


@pytest.fixture
def run(write_recipe: Write) -> Path:
    assert cli.main(["run", str(write_recipe(RECIPE))]) == 0
    return Path("runs/recipe")


def places(content: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a JSON value, itself first."""
    yield way
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in itertools.islice(items, 12):
        yield from places(value, (*way, key))


def spoilt(content: Any, way: tuple[Any, ...], value: object) -> Any:
    if not way:
        return value
    changed = json.loads(json.dumps(content))
    inner = changed
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = value
    return changed


@pytest.mark.parametrize("file", [
    "recipe.json", "ledger.jsonl", "01-base/stage.json", "02-score/stage.json", "02-score/report.json",
])
def test_no_value_of_a_run_s_files_is_a_traceback(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    path = run / file
    rows = durable.rows(path) if file.endswith("l") else [durable.read_json(path)]
    for row in rows:
        row.pop("sha256", None)  # who spoils a stage.json on purpose spoils its hash of itself, too
    kept = {artifact: (run / artifact).resolve() for artifact in ("01-base", "02-score")}
    shutil.copytree("runs", tmp_path / "whole", symlinks=True)
    cases = [(i, way) for i, row in enumerate(rows) for way in places(row)]
    # Seven commands and ten values: of three rounds each place meets three values, each by another command.
    for number, (i, way) in enumerate(cases * 3):
        value = VALUES[(number + number // len(cases)) % len(VALUES)]
        new = [spoilt(row, way, value) if i == j else row for j, row in enumerate(rows)]
        path.write_text("".join(json.dumps(row) + "\n" for row in new))
        command = COMMANDS[number % len(COMMANDS)]
        code = cli.main(command)
        said = capsys.readouterr()
        assert code in (0, 1, 2), (command, way, value)
        assert "Traceback" not in said.err
        assert "\x1b]" not in said.out + said.err
        for artifact in kept.values():
            assert artifact.is_dir(), (command, way, value)


@pytest.mark.parametrize("file", ["recipe.json", "ledger.jsonl", "01-base/stage.json", "02-score/report.json"])
@pytest.mark.parametrize("content", [
    b"", b"\x00" * 100, b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000, b'"\\ud800"', b"nul", b"NaN",
], ids=["empty", "zeros", "no text", "lists", "objects", "digits", "half a character", "nul", "NaN"])
def test_no_content_of_a_run_s_files_is_a_traceback(
    run: Path, capsys: pytest.CaptureFixture[str], file: str, content: bytes
) -> None:
    (run / file).write_bytes(content)
    for command in COMMANDS:
        assert cli.main(command) in (0, 1, 2), command
        assert "Traceback" not in capsys.readouterr().err
    assert (run / "01-base").is_dir()
