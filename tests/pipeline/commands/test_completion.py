"""`retort completion`: a real bash completes with it."""

import subprocess
from pathlib import Path

import pytest

from pipeline.commands import cli

ASKED = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"
function=$(complete -p retort | sed 's/.*-F \([^ ]*\).*/\1/')
"$function" retort "${@: -1}" "${@: -2:1}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "retort"
    with pytest.MonkeyPatch.context() as patch, file.open("w") as out:
        patch.setattr("sys.stdout", out)
        assert cli.main(["completion", "bash"]) == 0
    return file


def test_the_script_is_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize(("words", "expected"), [
    ([""], set(cli.SUMMARIES)),
    (["ser"], {"serve-rollouts"}),
    (["run", "qui"], {"quickstart"}),
    (["run", "own.y"], {"own.yaml"}),
    (["plan", "--tr"], {"--trust"}),
    (["list", "st"], {"stages"}),
    (["list", "stages", "gr"], {"grpo"}),
    (["new", ""], {"recipe", "stage", "problems", "verifier", "rule"}),
    (["completion", ""], {"bash", "zsh"}),
    (["status", "my_"], {"my_run"}),
])
def test_bash_completes(words: list[str], expected: set[str], script: Path, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").touch()
    (tmp_path / "my_run").mkdir()
    (tmp_path / "my_file").touch()
    command = ["bash", "--norc", "-c", ASKED, "bash", str(script), "retort", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


def test_zsh_has_one_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "zsh"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("#compdef retort\n")
    assert "compadd " in out
    assert " quickstart " in out
