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

    def load(self, folder: str, token: str) -> None:
        """Give the weights in a folder to vLLM's workers, to be known by a token. Raises ServerError."""
        self._call("retort_load", folder, token)

    def has(self, token: str) -> bool:
        """Whether all of vLLM's workers have the weights that are known by a token. Raises ServerError."""
        return set(self._call("retort_loaded")) == {token}

    def _call(self, method: str, *arguments: str) -> list[str]:
        """What a method of vLLM's workers (`worker/`) returns, of each of them."""
        response = self._post("collective_rpc", {"method": method, "args": list(arguments)})
        try:
            return [str(one) for one in json.loads(response.body)["results"]]
        except (ValueError, LookupError, TypeError) as error:
            raise ServerError(self._unknown(response)) from error

    def forget_prefixes(self) -> None:
        """Drop the keys and values of prompts that were read with other weights. Raises ServerError."""
        self._post("reset_prefix_cache", {})

    def _post(self, path: str, body: dict[str, Any]) -> Response:
        return asyncio.run(self._post_once(path, body))

    async def _post_once(self, path: str, body: dict[str, Any]) -> Response:
        async with Client(self.url, "", 1, SECONDS, 2**20) as client:
            try:
                response = await client.post(path, body)
            except NoAnswer as error:
                raise ServerError(f"the vLLM server at {self.url} does not answer {path}: {error}") from error
        self._require(response, path)
        return response

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
        try:
            choice: dict[str, Any] = json.loads(response.body)["choices"][0]
        except (ValueError, LookupError, TypeError) as error:
            raise ServerError(self._unknown(response)) from error
        return choice

    def _unknown(self, response: Response) -> str:
        said = shortened(response.body[:300].decode(errors="replace"))
        return f"what answers at {self.url} is no vLLM server: {said or 'it says nothing'}"

    def _require(self, response: Response, path: str) -> None:
        if response.status == 200:
            return
        hint = ""
        if response.status == 404:
            hint = " (start it with retort serve-rollouts)"
        elif path == "collective_rpc":
            hint = " (was it started by another version? start it anew with retort serve-rollouts)"
        elif b"float values" in response.body:
            hint = " (its model computes numbers that are none; does vLLM know this architecture in this form?)"
        said = response.body[:300].decode(errors="replace")
        raise ServerError(shortened(f"the vLLM server at {self.url} refuses {path}: HTTP {response.status} {said}")
                          + hint)
