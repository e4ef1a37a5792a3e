import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli, guard

Write = Callable[..., Path]
RETORT = [sys.executable, "-P", "-m", "pipeline.commands.cli"]


def imported_by(*words: str) -> set[str]:
    code = (
        f"import sys; from pipeline.commands import cli; cli.main({list(words)!r}); print('\\n'.join(sys.modules), "
        f"file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_imports_no_library() -> None:
    """So that it answers at once: `retort bench start` measures that."""
    loaded = imported_by("--help")
    assert "importlib.metadata" not in loaded
    packages = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    # What Python itself loads at its start, of editable packages for instance, has such a name.
    assert {name for name in packages if not name.startswith(("_", "sitecustomize", "distutils"))} == {
        "pipeline", "rewards"
    }


def test_plan_needs_no_torch(write_recipe: Write) -> None:
    path = str(write_recipe("stages:\n  base: {kind: 'tiny.py:Make'}\n"))
    assert imported_by("plan", path).isdisjoint({"torch", "transformers", "trl", "datasets", "huggingface_hub", "rich"})


@pytest.mark.parametrize(("words", "code", "expected"), [
    (["rum"], 2, "retort: there is no command 'rum'; did you mean 'run'?"),
    (["run", "none"], 2, "none: there is no recipe of that name"),
    (["plan", "x.yaml"], 2, "x.yaml: there is no such file"),
    (["status", "none"], 2, "none: there is no such run in runs"),
    (["list", "rulez"], 2, "retort list: there is no list of 'rulez'; did you mean 'rules'?"),
])
def test_a_wrong_command_is_one_line(
    words: list[str], code: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == code
    found = capsys.readouterr()
    assert found.err.startswith(expected)
    assert found.err.count("\n") == 1
    assert found.out == ""


@pytest.mark.parametrize(("words", "expected"), [
    (["eval", "m", "--prblems=a:b"], "retort eval: unrecognized arguments: --prblems=a:b; did you mean --problems?"),
    (["eval", "m", "--n", "x"], "retort eval: argument --n: invalid int value: 'x'; see retort eval --help"),
    (["grade", "--nosuch"], "retort grade: unrecognized arguments: --nosuch; see retort grade --help"),
    (["new", "recipe"], "retort new: the following arguments are required: NAME; see retort new --help"),
    (["ask", "run", "m", "caf\udce9"],
     "retort ask: argument question: 'caf\\udce9' is not in UTF-8; save the script so, or set the terminal to it; see "
     "retort ask --help"),
    *((["eval", "m", "--problems", "a.jsonl", option, f"{key}caf\udce9"],
       f"retort eval: argument {option}: '{key}caf\\udce9' is not in UTF-8; save the script so, or set the terminal to "
       "it; see retort eval --help")
      for option, key in (("--system", ""), ("--instruction", ""), ("--stop", ""), ("--template-option", "mood="))),
])
def test_a_wrong_option_is_one_line(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)
    assert capsys.readouterr().err.splitlines() == [expected]


@pytest.mark.parametrize("name", ["run/../../x", "artifacts", "a b"])
def test_a_run_keeps_to_its_folder(write_recipe: Write, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_recipe("stages:\n  base: {kind: 'tiny.py:Make'}\n"))
    assert cli.main(["run", path, "--name", name]) == 2
    assert capsys.readouterr().err.startswith(f"--name {name}: ")


def test_runs_that_cannot_be_written_are_one_line(write_recipe: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_recipe("stages:\n  base: {kind: 'tiny.py:Make'}\n"))
    Path("file").write_text("")
    assert cli.main(["run", path, "--runs", "file"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_plan_says_what_would_run(write_recipe: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(
        write_recipe(
            "name: p\nstages:\n  base: {kind: 'tiny.py:Make'}\n  traces: {kind: 'tiny.py:Write', model: base}\n"
        )
    )
    assert cli.main(["plan", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["stage", "kind", "makes", "fingerprint", "state", "reads"]
    assert lines[3].split()[:3] == ["traces", "tiny.py:Write", "dataset"]
    assert lines[3].endswith("would run  base")
    assert not Path("runs").exists()


def test_list_shows_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    for heading in ("recipes:", "stages:", "rules:", "verifiers:", "problems:"):
        assert heading in out
    for what in ("rules", "verifiers"):
        assert cli.main(["list", what]) == 0
        assert "trl:FILE.py:NAME\n" in capsys.readouterr().out


def test_a_foreign_package_that_hides_ours_is_named(tmp_path: Path) -> None:
    assert guard.complaint() == ""
    for name in ("rewards", "recipes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    done = subprocess.run([*RETORT, "list"], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"'rewards' comes from {tmp_path / 'rewards'}" in done.stderr


def test_files_of_the_current_folder_hide_nothing(write_recipe: Write, tmp_path: Path) -> None:
    for name in ("rewards.py", "random.py", "yaml.py", "eval.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')\n")
    path = str(write_recipe("name: p\nstages:\n  base: {kind: 'tiny.py:Make'}\n"))
    done = subprocess.run([*RETORT, "run", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_warning_is_one_line_and_names_no_place_in_our_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warned(_arguments: object) -> int:
        print(warnings.formatwarning("1 of 2 rows\nis left out", RuntimeWarning, "files.py", 68, "warn("), end="")
        return 0

    before = warnings.formatwarning
    monkeypatch.setattr("pipeline.commands.list.main", warned)
    assert cli.main(["list", "recipes"]) == 0
    assert capsys.readouterr().out == "retort: 1 of 2 rows is left out\n"
    assert warnings.formatwarning is before
    with pytest.raises(SystemExit):
        cli.main(["list", "--no-such-option"])
    assert warnings.formatwarning is before
