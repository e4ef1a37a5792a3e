"""Hostile servers, from the bytes on the wire up: each ends in one line and in bounded time, and none gets a key that
is not its own."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval.answers import rollouts
from eval.engine.types import Sampling
from eval.errors import ServerError, Unanswered
from eval.protocol import Prompting, Protocol
from eval.server import Server
from rewards.types import Problem
from tests.hostile import RAW, Answer, body, endless, serving

KEY = "sk-very-secret"
PROBLEMS = [Problem("p", "What is 2 + 3?", "5", "math", "sums")]


def asked(url: str, folder: Path, timeout: float = 0.5, tries: int = 2, jobs: int = 2) -> str:
    """The error that an evaluation ends with."""
    protocol = Protocol(Prompting(), Sampling(64), 1, 0)
    server = Server(url, "m", protocol, jobs, timeout, tries, wait=0.01, key=KEY)
    with pytest.raises((Unanswered, ServerError)) as error:
        rollouts(server, PROBLEMS, 1, folder / "rows.jsonl")
    return str(error.value)


@pytest.mark.parametrize("what", RAW)
def test_what_is_no_answer_is_one_line_in_bounded_time(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.server.LONGEST_WAIT", 0.1)
    with serving(RAW[what]) as server:
        said = asked(server.url, tmp_path)  # where a server goes on for ever, this would, too
        until = time.monotonic() + 5  # a busy machine's server may read what it was sent after the client has left
        while len(server.requests) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(server.requests) == 2, "it is tried again, and not for ever"
    assert 5 < len(said) <= 210
    assert "\n" not in said


@pytest.mark.parametrize("what", ["silence", "an endless body", "no HTTP", "a wait for ever"])
def test_what_is_no_answer_to_what_it_is_is_one_line_in_bounded_time(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.server.LONGEST_WAIT", 0.1)
    with serving(body(b"{}", b"400 Bad Request"), about=RAW[what]) as server:
        said = asked(server.url, tmp_path)
    assert "/models, by which a server says what it is: " in said
    assert "\n" not in said


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_and_the_questions_never_leave_their_host(status: int, tmp_path: Path) -> None:
    with serving(body(b"{}")) as other:
        answer = body(b"", b"%d Moved" % status, b"Location: " + other.url.encode() + b"/chat/completions")
        with serving(answer) as server:
            said = asked(server.url, tmp_path)
            assert other.url in said
            assert "give the right URL with --server" in said
            assert len(server.requests) == 1
            assert f"Bearer {KEY}" in server.requests[0]
        assert other.requests == []


def test_a_path_of_the_same_host_is_not_followed_either(tmp_path: Path) -> None:
    with serving(body(b"", b"307 Moved", b"Location: /elsewhere")) as server:
        assert "sends on to /elsewhere (HTTP 307)" in asked(server.url, tmp_path)
        assert len(server.requests) == 1


def test_a_server_that_repeats_the_key_does_not_bring_it_into_messages(tmp_path: Path) -> None:
    with serving(body(f"Incorrect API key: {KEY}".encode(), b"401 Unauthorized")) as server:
        said = asked(server.url, tmp_path)
    assert KEY not in said
    assert "refuses: HTTP 401 Incorrect API key: [the key] (OPENAI_API_KEY is what it was given" in said


def test_nothing_is_decompressed_and_no_cookie_comes_back(tmp_path: Path) -> None:
    headers = (b"Content-Encoding: gzip", b"Set-Cookie: a=b; Path=/")
    with serving(body(b"\x1f\x8b\x08\x00" + b"\x00" * 100, b"200 OK", *headers)) as server:
        assert "no JSON" in asked(server.url, tmp_path)
        assert len(server.requests) == 2
        assert not any("cookie:" in head.lower() for head in server.requests)
        assert all("accept-encoding: identity" in head.lower() for head in server.requests)


@pytest.mark.parametrize("key", ["sk-1\nX-Evil: 1", "sk 1", "sk-\u202e1", "sk-\x00"])
def test_a_key_that_is_none_is_told_and_not_shown(key: str) -> None:
    with pytest.raises(ServerError, match="OPENAI_API_KEY holds characters") as error:
        Server("http://127.0.0.1:9", "m", Protocol(Prompting(), Sampling(64), 1, 0), key=key)
    assert "sk" not in str(error.value)


@pytest.mark.parametrize("url", [
    "http://[bad", "http://x:99999", "http://x:y/v1", "http://", "http:///v1", "ftp://x/v1", "http://x/v1?key=5",
    "http://x/v1#there", "http://ex ample", "http://\x1b[2J", "x",
])
def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(ServerError, match="is no URL of a server"):
        Server(url, "m", Protocol(Prompting(), Sampling(64), 1, 0))


def test_a_password_in_the_url_is_not_repeated() -> None:
    with pytest.raises(ServerError, match="a name or a password") as error:
        Server("http://me:secret@x/v1", "m", Protocol(Prompting(), Sampling(64), 1, 0))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("variable", ["ALL_PROXY", "SSL_CERT_FILE"])
def test_an_environment_that_no_client_can_be_made_with(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, {"ALL_PROXY": "nonsense://[", "SSL_CERT_FILE": "/nowhere/x.pem"}[variable])
    assert f"{variable}" in asked("http://server.example:9", tmp_path, tries=1)


GREEDY = '''
import resource, sys
from pathlib import Path
from tests.eval.test_http_client import PROBLEMS, asked
from eval.http_client import httpx2
httpx2.AsyncClient  # loaded before it is measured
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(asked(sys.argv[1], Path(sys.argv[2]), timeout=3.0, jobs=8))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
'''


@pytest.mark.parametrize("answer", [
    endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x"), endless(b"HTTP/1.1 200 OK\r\n\r\n", b"[],"),
    endless(b"HTTP/1.1 500 No\r\n\r\n", b"x"), endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
])
def test_memory_stays_bounded(answer: Answer, tmp_path: Path) -> None:
    with serving(answer) as server:
        done = subprocess.run([sys.executable, "-c", GREEDY, server.url, str(tmp_path)], capture_output=True, text=True,
                              cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 200
