"""A server that wishes its clients ill: a real one, on a local port, which answers with any bytes."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

Answer = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class HostileServer:
    """Reads a request on each connection, has `answer` write to it, and closes it. `requests` are the heads it got.
    Where it is asked what it is, which comes before all questions, it has `about` write."""

    def __init__(self, answer: Answer, about: Answer) -> None:
        self._answer, self._about, self.requests = answer, about, list[str]()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the socket was closed: the test is over
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # nobody waits for the rest
            connection.settimeout(20)
            head = _request(connection)
            if head.startswith("GET "):
                self._about(connection)
            else:
                self.requests.append(head)
                self._answer(connection)

    def close(self) -> None:
        self._socket.close()


def _request(connection: socket.socket) -> str:
    """The head of a request, after all of it was read."""
    held = b""
    while b"\r\n\r\n" not in held:
        held += connection.recv(65536)
    head, _, body = held.partition(b"\r\n\r\n")
    length = int(next(iter(head.lower().partition(b"content-length:")[2].split()), 0))
    while len(body) < length:
        body += connection.recv(65536)
    return head.decode()


def body(content: bytes, status: bytes = b"200 OK", *headers: bytes) -> Answer:
    """A whole response with this body."""
    head = b"".join(line + b"\r\n" for line in (b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(content)))
    return lambda connection: connection.sendall(head + b"\r\n" + content)


NOT_FOUND = body(b"", b"404 Not Found", b"Connection: close")


@contextlib.contextmanager
def serving(answer: Answer, about: Answer = NOT_FOUND) -> Iterator[HostileServer]:
    server = HostileServer(answer, about)
    yield server
    server.close()


def endless(start: bytes, part: bytes, pause: float = 0.0) -> Answer:
    """`start`, and then `part` again and again, for as long as somebody reads."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        # Many at once where nothing drips, since a client is to be flooded and not the test's own interpreter.
        sent = part if pause else part * (1 + 2**20 // len(part))
        while True:
            connection.sendall(sent)
            time.sleep(pause)

    return answer


def silent(connection: socket.socket) -> None:
    connection.recv(1)


RAW: dict[str, Answer] = {
    "nothing": lambda _: None,
    "silence": silent,
    "an endless body": endless(HEAD + b"\r\n", b'{"choices": ['),
    "an endless body in chunks": endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\n    \r\n"),
    "endless headers": endless(HEAD, b"X: " + b"y" * 100 + b"\r\n"),
    "one endless header": endless(HEAD + b"X: ", b"y" * 100),
    "an endless chunk size": endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "endless trailers": endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"y" * 100 + b"\r\n"),
    "endless interim responses": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a drip in the status line": endless(b"HTTP/1.1 2", b"0", 0.05),
    "a drip in the headers": endless(HEAD, b"X: y\r\n", 0.05),
    "a drip in the body": endless(HEAD + b"Content-Length: 100000\r\n\r\n", b" ", 0.05),
    "no HTTP": lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "HTTP/0.9": lambda connection: connection.sendall(b'{"choices": [{"message": {"content": "5"}}]}'),
    "a broken status": lambda connection: connection.sendall(b"HTTP/1.1 two hundred\r\n\r\n"),
    "an absurd length": lambda connection: connection.sendall(HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}"),
    "a negative length": lambda connection: connection.sendall(HEAD + b"Content-Length: -5\r\n\r\n{}"),
    "a body cut short": lambda connection: connection.sendall(HEAD + b'Content-Length: 500\r\n\r\n{"choices"'),
    "bytes in headers": lambda connection: connection.sendall(HEAD + b"X: \xff\x00\x1b[2J\r\n\r\n{}"),
    "a wait for ever": body(b"{}", b"429 Too Many Requests", b"Retry-After: " + b"9" * 400),
    "a wait in odd digits": body(b"{}", b"429 Too Many Requests", b"Retry-After: \xb2"),
    "an error with escape codes": body(b"\x1b[2J\x1b]0;x\x07\xff", b"500 \x1b[31m"),
}
"""Answers that are none, below JSON."""

BODIES: dict[str, bytes] = {
    "nothing": b"", "text": b"<html>\x1b[2J", "a number": b"5", "null": b"null", "a list": b"[]", "an object": b"{}",
    "deep lists": b"[" * 200_000, "deep objects": b'{"a":' * 100_000,
    "deep inside": b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "an endless number": b'{"choices": ' + b"9" * 100_000 + b"}",
    "broken UTF-8": b'{"choices": [{"message": {"content": "\xff\xfe"}}]}',
    "UTF-16": '{"choices": [{"message": {"content": "5"}}]}'.encode("utf-16"),
    "compressed": b"\x1f\x8b\x08\x00\x00",
    "an error": b'{"error": {"message": "\\u001b[2J no such model"}}',
    "choices of numbers": b'{"choices": 5}', "choices of null": b'{"choices": null}', "no choices": b'{"choices": []}',
    "a choice of text": b'{"choices": ["x"]}', "a choice of null": b'{"choices": [null]}',
    "a choice of lists": b'{"choices": [[]]}', "an empty choice": b'{"choices": [{}]}',
    "a message of text": b'{"choices": [{"message": "x"}]}', "a message of lists": b'{"choices": [{"message": []}]}',
    "content of numbers": b'{"choices": [{"message": {"content": 5}}]}',
    "content of parts": b'{"choices": [{"message": {"content": [{"text": "5"}]}}]}',
    "content of truth": b'{"choices": [{"message": {"content": true}}]}',
    "no content": b'{"choices": [{"message": {"content": null}}]}',
    "thinking of numbers": b'{"choices": [{"message": {"content": "5", "reasoning_content": 5}}]}',
    "thinking of objects": b'{"choices": [{"message": {"content": "5", "reasoning_content": {"a": 1}}}]}',
    **{f"{count} tokens": b'{"choices": [{"message": {"content": "5"}}], "usage": {"completion_tokens": %s}}' % count
       for count in (b"-1", b"1e999", b"NaN", b"-Infinity", b"true", b'"7"', b"[7]", b"7.5", b"9" * 30, b"9" * 3000)},
    "usage of text": b'{"choices": [{"message": {"content": "5"}}], "usage": "much"}',
}
"""Bodies of a response that are no answer."""

STRANGE: dict[str, tuple[bytes, str]] = {
    "half a character": (b'{"choices": [{"message": {"content": "\\ud800 5"}}]}', "\ufffd 5"),
    "a pair of halves": (b'{"choices": [{"message": {"content": "\\ud83d\\ude00"}}]}', "\U0001f600"),
    "a byte order mark": (b'\xef\xbb\xbf{"choices": [{"message": {"content": "5"}}]}', "5"),
    "numbers that nobody needs": (b'{"created": 1e999, "choices": [{"message": {"content": "5"}, "index": NaN}]}', "5"),
    "a reason of objects": (b'{"choices": [{"message": {"content": "5"}, "finish_reason": {}}]}', "5"),
    "null for everything else": (b'{"choices": [{"message": {"content": "5", "reasoning_content": null}, '
                                 b'"finish_reason": null}], "usage": {"completion_tokens": null}}', "5"),
    "escape codes": (b'{"choices": [{"message": {"content": "\\u001b[2J5"}}]}', "\x1b[2J5"),
}
"""Bodies that are an answer all the same, and its text."""
