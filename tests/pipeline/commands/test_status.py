"""`retort status` on a run that shares an artifact with another one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli

Write = Callable[..., Path]
STAGES = 'name: {name}\nstages:\n  base: {{kind: "tiny.py:Make"}}\n  {more}: {{kind: "tiny.py:Write", model: base}}\n'


def test_the_sum_of_the_stages_is_told_beside_the_time_of_the_run(
    write_recipe: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, more in (("one", "traces"), ("two", "others")):
        assert cli.main(["run", str(write_recipe(STAGES.format(name=name, more=more), f"{name}.yaml"))]) == 0
    capsys.readouterr()
    assert cli.main(["status", "one"]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.endswith("of work in all its attempts")
    assert last.startswith("the stages took 0.")
    assert last.endswith("s in all, some of them side by side")
    assert cli.main(["status", "two"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.endswith("s in all, some of them side by side; made by other runs: base")
