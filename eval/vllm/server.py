"""Talking to a vLLM server: completions of token ids, many at once, and calls to its workers."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any  # requests and answers are JSON

from eval.errors import ServerError
from eval.http_client import Client, NoAnswer, Response, shortened

AT_ONCE = 256
"""Requests that are sent at once; vLLM puts as many of them into a batch as fit into its memory."""

TRIES = 3
"""How often a request is sent, where nothing comes back."""

SECONDS = 3600.0
"""For one request: a rollout waits for its turn, and large weights are read from a disk."""

MODEL = "policy"
"""The name under which the server has its model, whatever that is at the moment."""


class VllmServer:
    """A server that `process.py` has started, here or elsewhere, at `url`, such as http://localhost:8000."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def complete(
        self, bodies: Sequence[dict[str, Any]], most_bytes: int, done: Callable[[int, dict[str, Any]], None]
    ) -> None:
        """Send each body to `/v1/completions`; `done` is told of each answer's first choice as it comes, with the place
        of its body. Raises ServerError where one is refused, or is not answered after `TRIES` tries."""
        asyncio.run(self._complete(bodies, most_bytes, done))

    def call(self, method: str, *arguments: str) -> None:
        """Call a method of vLLM's workers, on all of them. Raises ServerError."""
        self._post("collective_rpc", {"method": method, "args": list(arguments)})

    def forget_prefixes(self) -> None:
        """Drop the keys and values of prompts that were read with other weights. Raises ServerError."""
        self._post("reset_prefix_cache", {})

    def _post(self, path: str, body: dict[str, Any]) -> None:
        asyncio.run(self._post_once(path, body))

    async def _post_once(self, path: str, body: dict[str, Any]) -> None:
        async with Client(self.url, "", 1, SECONDS, 2**20) as client:
            try:
                self._require(await client.post(path, body), path)
            except NoAnswer as error:
                raise ServerError(f"the vLLM server at {self.url} does not answer {path}: {error}") from error

    async def _complete(
        self, bodies: Sequence[dict[str, Any]], most_bytes: int, done: Callable[[int, dict[str, Any]], None]
    ) -> None:
        waiting = iter(enumerate(bodies))
        async with Client(self.url, "", AT_ONCE, SECONDS, most_bytes) as client:

            async def some() -> None:
                for place, body in waiting:
                    done(place, await self._choice(client, body))

            await asyncio.gather(*(some() for _ in range(min(AT_ONCE, len(bodies)))))

    async def _choice(self, client: Client, body: dict[str, Any]) -> dict[str, Any]:
        for attempt in range(1, TRIES + 1):
            try:
                response = await client.post("v1/completions", body)
                break
            except NoAnswer as error:
                if attempt == TRIES:
                    raise ServerError(f"the vLLM server at {self.url} does not answer: {error}") from error
                await asyncio.sleep(2.0**attempt)
        self._require(response, "v1/completions")
        choice: dict[str, Any] = json.loads(response.body)["choices"][0]
        return choice

    def _require(self, response: Response, path: str) -> None:
        if response.status == 200:
            return
        hint = ""
        if response.status == 404:
            hint = " (start it with retort serve-rollouts)"
        elif b"float values" in response.body:
            hint = " (its model computes numbers that are none; does vLLM know this architecture in this form?)"
        said = response.body[:300].decode(errors="replace")
        raise ServerError(shortened(f"the vLLM server at {self.url} refuses {path}: HTTP {response.status} {said}")
                          + hint)
