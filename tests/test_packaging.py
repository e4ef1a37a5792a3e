"""What people get who install, cite or contain Retort: nothing of the packages is forgotten, and papers agree."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from setuptools import Distribution
from setuptools.command.build_py import build_py

from tests import house

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = (*house.FLOORS, "recipes")


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> build_py:
    """What setuptools would put into a wheel, by its own reading of pyproject.toml."""
    monkeypatch.chdir(ROOT)
    distribution = Distribution({"script_name": "setup.py"})
    distribution.parse_config_files(["pyproject.toml"])
    command = distribution.get_command_obj("build_py")
    command.ensure_finalized()
    assert isinstance(command, build_py)
    return command


def test_a_wheel_holds_every_file_of_the_packages(build: build_py) -> None:
    packed = {Path(file) for _, _, file in build.find_all_modules()}
    packed |= {Path(source, name) for _, source, _, names in build.data_files for name in names}
    there = {file.relative_to(ROOT) for folder in FOLDERS for file in (ROOT / folder).rglob("*") if file.is_file()}
    forgotten = sorted(str(file) for file in there - packed if "__pycache__" not in file.parts)
    assert forgotten == [], "name them in pyproject.toml, under tool.setuptools.package-data"
    assert {file for file in packed if file.name == "py.typed"} == {Path(folder, "py.typed") for folder in FOLDERS}


def test_a_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = PROJECT["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format demands
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["authors"] == project["authors"]


def complaints(dockerfile: str) -> str:
    """What hadolint says of a Dockerfile."""
    hadolint = [str(Path(sys.executable).with_name("hadolint")), "--no-color", "-"]
    return subprocess.run(hadolint, input=dockerfile, stdout=subprocess.PIPE, text=True, check=False).stdout


def test_the_dockerfile_is_clean() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert complaints(text) == ""
    assert "DL3002" in complaints(text.replace("USER 10001", "USER root"))


def test_an_image_gets_what_it_is_built_from() -> None:
    """.dockerignore lets through the packages, and what their build reads."""
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    read = {"pyproject.toml", "constraints.txt", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert let_through == {*FOLDERS, *read}
