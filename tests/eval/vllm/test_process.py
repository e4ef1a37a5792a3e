"""Starting a server: with a program in the place of the interpreter, since vLLM itself takes a minute."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from eval.errors import ServerError
from eval.vllm import process
from eval.vllm.process import Serving, started
from eval.vllm.server import VllmServer

PROGRAM = """#!{python}
import http.server, os, sys
from pathlib import Path
port = int(sys.argv[sys.argv.index("--port") + 1])
Path("{told}").write_text(" ".join([str(os.getpid()), os.environ["VLLM_SERVER_DEV_MODE"], os.environ["PYTHONPATH"]]))
Path("{told}").with_name("environment").write_text(" ".join(os.environ))
{body}
"""

SERVES = """
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *_): ...
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def program(folder: Path, body: str) -> str:
    file = folder / "python"
    file.write_text(PROGRAM.format(python=sys.executable, told=folder / "told", body=body))
    file.chmod(0o755)
    return str(file)


def test_a_server_lives_as_long_as_the_block(tmp_path: Path) -> None:
    with started(Serving(program(tmp_path, SERVES), "float32"), tmp_path, tmp_path / "log") as server:
        number, calls, path = (tmp_path / "told").read_text().split()
        assert (server.url.startswith("http://127.0.0.1:"), calls) == (True, "1")
        assert [file.name for file in Path(path).glob("*.py")] == ["retort_vllm_worker.py"]
        os.kill(int(number), 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)


def test_a_server_is_no_member_of_its_stages_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "TORCHELASTIC_USE_AGENT_STORE", "ACCELERATE_USE_FSDP")
    for name in group:
        monkeypatch.setenv(name, "1")
    with started(Serving(program(tmp_path, SERVES), "float32"), tmp_path, tmp_path / "log"):
        there = (tmp_path / "environment").read_text().split()
    assert "PATH" in there
    assert not {*group} & {*there}


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5h://127.0.0.1:9"])
def test_a_server_here_is_not_asked_through_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setattr(process, "PATIENCE", 20.0)
    proxies = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    for name in proxies:
        monkeypatch.setenv(name, proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with (
        started(Serving(program(tmp_path, SERVES), "float32"), tmp_path, tmp_path / "log") as server,
        pytest.raises(ServerError, match="refuses reset_prefix_cache: HTTP 501"),  # as the stand-in says itself
    ):
        server.forget_prefixes()
    for name in proxies:
        monkeypatch.setenv(name, "nonsense://[")
    with pytest.raises(ServerError, match="no client can be made with the proxy"):
        VllmServer("http://gpus.example:8000").forget_prefixes()


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        with started(Serving(program(tmp_path, SERVES), "float32"), tmp_path, tmp_path / "log"):
            (tmp_path / "up").touch()
            time.sleep(60)
    while not (tmp_path / "up").exists():
        time.sleep(0.05)
    number = int((tmp_path / "told").read_text().split()[0])
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for _ in range(200):
        if not Path(f"/proc/{number}").exists() or "Z" in Path(f"/proc/{number}/stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    pytest.fail("the server lives on")


def test_why_it_does_not_come_up_is_told(tmp_path: Path) -> None:
    refuses = "print('INFO loading', flush=True); raise ValueError('no such architecture')"
    with (
        pytest.raises(ServerError, match=r"does not come up: ValueError: no such architecture \(all of it: .*log\)"),
        started(Serving(program(tmp_path, refuses), "float32"), tmp_path, tmp_path / "log"),
    ):
        pytest.fail("it came up")


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PATIENCE", 0.3)
    with pytest.raises(ServerError, match="does not come up: it says nothing"), started(
        Serving(program(tmp_path, "import time; time.sleep(60)"), "float32"), tmp_path, tmp_path / "log"
    ):
        pytest.fail("it came up")


def test_the_command_says_what_vllm_does_not_do_by_itself() -> None:
    line = " ".join(Serving("python", "bfloat16", 0.5, 2, experts=True, devices="4,5").command("m", "0.0.0.0", 80))
    for part in ("--dtype bfloat16", "--logprobs-mode processed_logprobs", "--generation-config vllm",
                 "--worker-extension-cls retort_vllm_worker.Weights", "--enable-return-routed-experts",
                 "--tensor-parallel-size 2", "--gpu-memory-utilization 0.5"):
        assert part in line
    assert "chunked" not in line
    assert Serving("python", "bfloat16", experts=True).environment()["VLLM_USE_V2_MODEL_RUNNER"] == "1"
    assert "--enforce-eager" in Serving("python", "float32", experts=True, on_processors=True).command("m", "h", 80)
    assert "--enforce-eager" not in line
    assert "--no-enable-chunked-prefill" in Serving("python", "float32", on_processors=True).command("m", "h", 80)
    assert "routed" not in " ".join(Serving("python", "float32").command("m", "h", 80))
    assert Serving("python", "float32", devices="4,5").environment()["CUDA_VISIBLE_DEVICES"] == "4,5"
