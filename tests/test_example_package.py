"""The package in examples/: it is installed, its plug-ins are found by name, and its recipe reads, runs and grades."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.xdist_group("example package")  # which is installed once

PACKAGE = ROOT / "examples" / "retort-example"
ENTRY_POINTS = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"]
RECIPE = yaml.safe_load((PACKAGE / "sorting.yaml").read_text())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with this one in it, made by pip."""
    sources, packages = tmp_path_factory.mktemp("sources") / "retort-example", tmp_path_factory.mktemp("packages")
    # A build writes beside its sources, and what an earlier one wrote is none of this one's.
    shutil.copytree(PACKAGE, sources, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index",
         "--disable-pip-version-check", "--target", packages, sources], check=True,
    )
    return packages


def retort(packages: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command as a person with these packages types it in this folder."""
    path = os.pathsep.join([str(packages), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-P", "-m", "pipeline.commands.cli", *arguments], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path}, check=False,
    )


def test_its_plug_ins_are_listed_with_the_package_that_they_are_from(installed: Path, tmp_path: Path) -> None:
    listed = retort(installed, tmp_path, "list").stdout
    found = re.findall(r"^  (\w+) .*\[entry point of retort-example\]$", listed, re.MULTILINE)
    assert sorted(found) == sorted(name for group in ENTRY_POINTS.values() for name in group)


def test_its_recipe_reads_and_a_wrong_option_of_its_rule_is_told(installed: Path, tmp_path: Path) -> None:
    told = retort(installed, tmp_path, "plan", str(PACKAGE / "sorting.yaml"))
    assert told.returncode == 0, told.stderr
    assert all(re.search(rf"^{name} .*would run", told.stdout, re.MULTILINE) for name in RECIPE["stages"])
    wrong = (PACKAGE / "sorting.yaml").read_text().replace("least: 3", "lest: 3")
    (tmp_path / "wrong.yaml").write_text(wrong)
    told = retort(installed, tmp_path, "plan", "wrong.yaml")
    assert told.returncode == 2
    assert "lest" in told.stderr


def test_its_stage_runs_and_its_verifier_grades_what_the_stage_wrote(installed: Path, tmp_path: Path) -> None:
    stages = {"examples": {**RECIPE["stages"]["examples"], "problems_each": 8}}
    (tmp_path / "some.yaml").write_text(yaml.safe_dump({"name": "some", "stages": stages}))
    told = retort(installed, tmp_path, "run", "some.yaml")
    assert told.returncode == 0, told.stderr
    rows = [json.loads(line) for line in (tmp_path / "runs/some/01-examples/data.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    asked = [sorted(map(int, re.findall("[0-9]+", row["prompt"]))) for row in rows]
    completions = [(row["completion"], answer) for row, answer in zip(rows, asked, strict=True)]
    completions.append(("<answer>3, 2, 1</answer>", [1, 2, 3]))
    (tmp_path / "rows.jsonl").write_text("".join(
        json.dumps({"verifier": "number_list", "answer": answer, "completion": text}) + "\n"
        for text, answer in completions
    ))
    graded = retort(installed, tmp_path, "grade", "rows.jsonl")
    labels = [json.loads(line)["verdict"] for line in graded.stdout.splitlines()]
    assert labels == ["correct"] * 8 + ["wrong"], graded.stderr
