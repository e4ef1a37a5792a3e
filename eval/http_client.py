"""Requests to a server that nobody vouches for: bounded in time and in bytes, and never led to another place."""

import asyncio
import ipaddress
import json
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any  # JSON
from urllib.parse import urlsplit

from eval.errors import ServerError
from rewards.lazy import lazy

with lazy:  # which takes a tenth of a second, and most evaluations ask no server
    import httpx2

SHOWN = 200
"""Characters of what a server said that are told."""


class NoAnswer(Exception):
    """What came is no answer, or nothing came. The message is one short line, and says what came instead."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message))


@dataclass(frozen=True)
class Response:
    """A response with its whole body; headers that the caller acts on, "" where they are not there."""

    status: int
    body: bytes
    location: str
    retry_after: str


class Client:
    """Sends JSON to paths under `url`, with `key` as the bearer token; `jobs` requests at once.

    Each request has `seconds` from its first byte out to its last byte in, finding the host included, however slowly a
    server drips, and `most` bytes of body are read. Redirects are returned and not followed, so that the key goes to
    this host alone. Nothing is decompressed, no cookie is kept, and headers of more than 100 KiB are refused by the
    library. The proxy that the environment names is asked for other machines alone. Raises ServerError where that
    proxy, or the environment's certificates, are none.
    """

    def __init__(self, url: str, key: str, jobs: int, seconds: float, most: int) -> None:
        self._url, self._seconds, self._most = url, seconds, most
        headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})}
        try:
            self._client = httpx2.AsyncClient(
                headers=headers, follow_redirects=False, timeout=None, limits=httpx2.Limits(max_connections=jobs),
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())), trust_env=not _is_own_machine(url),
            )
        except (ValueError, ImportError, OSError) as error:
            raise ServerError("no client can be made with the proxy or the certificates that the environment names "
                              f"({type(error).__name__}: {error}); look at HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE"
                              ) from error

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def post(self, path: str, body: dict[str, Any]) -> Response:
        """The response, of whatever status. Raises NoAnswer where none came whole, in time and within the bounds."""
        return await self._within(self._seconds, self._most, "POST", path, json.dumps(body).encode())

    async def get(self, path: str, seconds: float, most: int) -> Response:
        """As `post`, without a body, and within bounds of its own."""
        return await self._within(min(seconds, self._seconds), most, "GET", path, None)

    async def _within(self, seconds: float, most: int, method: str, path: str, content: bytes | None) -> Response:
        try:
            # One clock for all of it: a timeout for each read, as clients have it, starts anew with every byte.
            async with asyncio.timeout(seconds):
                return await self._send(most, method, path, content)
        except TimeoutError as error:
            raise NoAnswer(f"timed out: no whole answer in {seconds:g} seconds") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
            raise NoAnswer(_reason(error)) from error

    async def _send(self, most: int, method: str, path: str, content: bytes | None) -> Response:
        headers = {"Content-Type": "application/json"}
        async with self._client.stream(method, f"{self._url}/{path}", content=content, headers=headers) as response:
            parts: list[bytes] = []
            read = 0
            async for part in response.aiter_raw():
                read += len(part)
                if read > most:
                    raise NoAnswer(f"the answer is longer than {most:,} bytes, more than was asked for can take")
                parts.append(part)
            told = response.headers
            return Response(
                response.status_code, b"".join(parts), told.get("Location", ""), told.get("Retry-After", "")
            )


def shortened(text: str) -> str:
    """On one line, and of at most `SHOWN` characters."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..."


def _is_own_machine(url: str) -> bool:
    """Whether a plain address is of this machine; certificates of an encrypted one are the environment's to say."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        return False
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:  # a name
        return False


def _reason(error: BaseException) -> str:
    """What the system says of a connection, where it is at the bottom of the library's error; else what that says."""
    for cause in _causes(error):
        # An error of TLS is an OSError, too, whose number is none of the system's.
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0:
            return os.strerror(cause.errno or 0)
    return f"{type(error).__name__}: {error}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        # A host with several addresses fails once for each.
        error = error.exceptions[-1] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__
