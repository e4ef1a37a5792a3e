"""The server behind `retort look`: one page and the rollouts it shows, for this machine's own browser alone."""

import gzip
import hmac
import json
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from pipeline.results.viewer import assets
from pipeline.results.viewer.embedded import table
from pipeline.results.viewer.rows import Rollouts
from rewards.lazy import lazy

with lazy:
    import jinja2

HOST = "127.0.0.1"

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class LookServer(ThreadingHTTPServer):
    """Serves the rollouts of a run at `address`, which holds a secret that no other page can know.

    Nothing that is asked for becomes the name of a file: rows are found by ids that were given out before.
    """

    daemon_threads = True

    def __init__(self, rollouts: Rollouts, port: int) -> None:
        """Raises OSError where the port is taken."""
        super().__init__((HOST, port), _Handler)
        self.rollouts = rollouts
        self.token = secrets.token_urlsafe(24)
        # A name that leads here from elsewhere (DNS rebinding) is none of these.
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: object, client_address: object) -> None:
        # A browser that goes away in the middle of an answer is no fault.
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection. Whoever does not know the token learns nothing, not even what there would be."""

    server: LookServer
    timeout: ClassVar[float] = 30.0  # seconds for a request to come whole
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "retort", ""

    def do_GET(self) -> None:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0] not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        asked = urlsplit(self.path)
        token, slash, what = asked.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        match slash + what:
            case "/":
                self._page()
            case "/index.json":
                index = self.server.rollouts.index()
                self._json({"index": table(index.rows), "left_out": index.left_out})
            case "/row":
                self._row(parse_qs(asked.query).get("id", [""])[0])
            case _:
                self._refuse(HTTPStatus.NOT_FOUND)

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        rollouts = self.server.rollouts
        template = jinja2.Environment(autoescape=True).from_string(assets.page())
        text = template.render(
            title=rollouts.run.path.resolve().name, stage=rollouts.stage, nonce=nonce,
            style=assets.style(), script=assets.script() + assets.start(),
        )
        policy = (f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
                  "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
        self._answer(text.encode("utf-8", "replace"), "text/html; charset=utf-8", policy)

    def _row(self, name: str) -> None:
        row = self.server.rollouts.row(name)
        if row is None:
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._json(row)

    def _json(self, content: object) -> None:
        self._answer(json.dumps(content, separators=(",", ":")).encode(), "application/json", "default-src 'none'")

    def _answer(self, body: bytes, kind: str, policy: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        packed = "gzip" in self.headers.get("Accept-Encoding", "")
        if packed:
            body = gzip.compress(body, compresslevel=1)
        self.send_response(status)
        more = {"Content-Encoding": "gzip"} if packed else {}
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy}
        for header, value in (headers | more | _HEADERS).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._answer(f"{status.value} {status.phrase}\n".encode(), "text/plain; charset=utf-8", "default-src 'none'",
                     status)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: the terminal is the person's who looks, and a line a request would fill it."""
