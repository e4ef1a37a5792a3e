"""`retort look`: its address, its end, and what it says where there is nothing to see."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pipeline.commands import cli, look
from pipeline.store.run_folder import RunFolder
from tests.pipeline.results.viewer import kept


def _heard() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and these tests may be there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_it_prints_its_address_serves_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    kept.apples(tmp_path, steps=1, problems=1, each=1)
    command = [sys.executable, "-P", "-m", "pipeline.commands.cli", "look", "apples:zero", "--runs", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment, preexec_fn=_heard) as process:
        try:
            assert process.stdout is not None
            address, _, told = process.stdout.readline().partition("  ")
            assert told == "(Ctrl-C ends it)\n"
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert b"rollouts of zero" in answer.read()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "stopped\n")


def test_a_browser_is_led_there_by_a_file_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What programs are started with is seen by every user of a machine."""
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\nfile="${1#file://}"\nstat -c %a "$(dirname "$file")" > seen\ncat "$file" >> seen\n'
                       'echo "$1" >> seen\n')
    browser.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    address = "http://127.0.0.1:1/secret/"
    with look.opened(address):
        mode, page, argument = (tmp_path / "seen").read_text().splitlines()
    assert mode == "700"
    assert f"url={address}" in page
    assert "secret" not in argument
    assert not Path(argument.removeprefix("file://")).exists()


@pytest.mark.parametrize(("asked", "told"), [
    ("aples", "aples: there is no such run in {runs}; did you mean 'apples'?"),
    ("aples:zero", "aples: there is no such run in {runs}; did you mean 'apples'?"),
    ("apples:zeros", "apples has kept no rollouts of a stage 'zeros'; did you mean 'zero'?"),
    ("bare", "bare has kept no rollouts; stages of the kinds grpo, sample and evaluate keep some"),
])
def test_what_is_not_there_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str, told: str
) -> None:
    run = kept.apples(tmp_path, steps=1, problems=1, each=1)
    RunFolder(tmp_path / "bare").begin("first", run.recipe(), "retort run bare")
    assert cli.main(["look", asked, "--runs", str(tmp_path)]) == 2
    assert capsys.readouterr().err == told.format(runs=tmp_path) + "\n"


@pytest.mark.parametrize("asked", ["tiny", "tiny:score"])
def test_of_a_run_that_was_copied_without_its_artifacts_each_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str
) -> None:
    run = RunFolder(tmp_path / "tiny")
    run.begin("first", {"name": "tiny", "stages": {}}, "retort run tiny")
    run.link(1, "score", tmp_path / "artifacts" / "score-0123456789")
    assert cli.main(["look", asked, "--runs", str(tmp_path)]) == 2
    assert "01-score: leads to ../artifacts/score-0123456789, which is gone" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept.apples(tmp_path, steps=1, problems=1, each=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["look", "apples", "--runs", str(tmp_path), "--port", str(port)]) == 2
    told = capsys.readouterr().err
    assert told == f"port {port} cannot be used (Address already in use); leave --port out for one that is free\n"


def test_a_port_is_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["look", "apples", "--port", "65536"])
    assert ended.value.code == 2
    assert "'65536' is no port: a number from 0 to 65535" in capsys.readouterr().err
