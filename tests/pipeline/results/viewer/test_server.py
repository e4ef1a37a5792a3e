"""What the server behind `retort look` answers, and to whom."""

import gzip
import http.client
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.results.viewer.rows import Rollouts
from pipeline.results.viewer.server import LookServer
from tests.pipeline.results.viewer import kept

TITLE = "<script>alert('run')</script>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LookServer]:
    folder = tmp_path_factory.mktemp("apples")
    with kept.serving(kept.apples(folder, steps=2, problems=1, each=2)) as found:
        yield found


def ask(server: LookServer, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_the_page_names_no_source_but_itself(server: LookServer) -> None:
    response, body = ask(server, f"/{server.token}/")
    assert response.status == 200
    policy = response.headers["Content-Security-Policy"]
    [nonce] = set(re.findall(r"'nonce-([^']+)'", policy))
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    text = body.decode()
    assert set(re.findall(r"<(?:script|style) nonce=\"([^\"]+)\">", text)) == {nonce}
    assert len(re.findall(r"<(?:script|style|img|link)\b", text.partition("<script")[0])) == 2
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in response.headers
    other, _ = ask(server, f"/{server.token}/")
    assert nonce not in other.headers["Content-Security-Policy"]


def test_rows_are_served_by_the_ids_of_the_index(server: LookServer) -> None:
    _, body = ask(server, f"/{server.token}/index.json", **{"Accept-Encoding": "gzip"})
    index = json.loads(gzip.decompress(body))
    assert len(index["index"]["rows"]) == 13
    name = index["index"]["rows"][3][0]
    response, body = ask(server, f"/{server.token}/row?id={name}")
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(body).items() >= kept.rollout(2, 0, 1).items()


def test_what_comes_later_is_in_the_next_index(tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    kept.grpo(tmp_path, run, {1: [kept.rollout(1, 0, 0)]})
    with kept.serving(run) as server:
        counts = []
        for step in (2, 3):
            counts.append(len(json.loads(ask(server, f"/{server.token}/index.json")[1])["index"]["rows"]))
            kept.write_step(tmp_path, "zero", step, [kept.rollout(step, 0, 0)])
    assert counts == [1, 2]


@pytest.mark.parametrize("path", ["/", "/index.json", "/row?id=1", "/x/", "/{other}/", "/{token}x/", "/%00/"])
def test_who_does_not_know_the_token_learns_nothing(server: LookServer, path: str) -> None:
    response, body = ask(server, path.format(token=server.token, other="A" * len(server.token)))
    assert response.status == 404
    assert body == b"404 Not Found\n"


@pytest.mark.parametrize("path", [
    "row", "row?id=../../stage.json", "row?id=", "../x", "row/", "/", "%2e%2e/%2e%2e/etc/passwd", "a/b",
])
def test_a_path_leads_to_no_file(server: LookServer, path: str) -> None:
    response, body = ask(server, f"/{server.token}/{path}")
    assert response.status == 404
    assert body == b"404 Not Found\n"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:{port}", ""])
def test_a_name_that_was_made_to_lead_here_is_refused(server: LookServer, host: str) -> None:
    response, body = ask(server, f"/{server.token}/", Host=host.format(port=server.server_port))
    assert response.status == 403
    assert body == b"403 Forbidden\n"


def test_localhost_is_this_machine(server: LookServer) -> None:
    assert ask(server, f"/{server.token}/", Host=f"localhost:{server.server_port}")[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_but_reading_is_possible(server: LookServer, method: str) -> None:
    assert ask(server, f"/{server.token}/", method)[0].status == 501


def test_two_hosts_none_and_nonsense_are_refused_and_the_server_goes_on(server: LookServer) -> None:
    own = f"127.0.0.1:{server.server_port}"
    for path, head in (
        (server.token, f"Host: {own}\r\nHost: evil.example\r\n"), (server.token, ""), (server.token, "no header\r\n"),
        ("\xe9\x00", f"Host: {own}\r\n"),
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
            connection.sendall(f"GET /{path}/ HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
            assert connection.recv(100).split(b" ")[1] in (b"400", b"403", b"404")
    assert ask(server, f"/{server.token}/")[0].status == 200


def test_it_listens_on_this_machine_alone_at_an_address_of_its_own(server: LookServer, tmp_path: Path) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 32
    with LookServer(Rollouts(kept.empty_run(tmp_path, "zero")), 0) as other:
        assert other.token != server.token


def test_the_name_of_a_run_is_a_text_of_the_page(tmp_path: Path) -> None:
    run = kept.apples(tmp_path, steps=1, problems=1, each=1)
    renamed = run.path.rename(run.path.with_name(TITLE.replace("/", "|")))
    with kept.serving(type(run)(renamed)) as server:
        _, body = ask(server, f"/{server.token}/")
    assert b"<script>alert" not in body
    assert b"&lt;script&gt;alert" in body
