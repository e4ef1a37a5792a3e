"""Answers of any OpenAI-compatible server: one request a rollout, retried while there is hope, none lost."""

import asyncio
import contextlib
import json
import os
import queue
import re
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, TypeVar  # a request is JSON
from urllib.parse import urlsplit

from eval.answer_formats import OPEN
from eval.completions import NoText, completion_of, most_bytes
from eval.engine.types import rollout_seed
from eval.errors import Overlong, ServerError, Unanswered
from eval.http_client import Client, NoAnswer, Response, shortened
from eval.prompts import conversation, plain_text
from eval.protocol import Protocol
from eval.rollouts import Rollout
from rewards.grade import grade
from rewards.lazy import lazy
from rewards.types import Completion, Problem

with lazy:
    import httpx2

Kind = TypeVar("Kind")

# Timeouts, conflicts, too many requests and faults of the server: the same request may go well later. One that a server
# does not have (501) never does.
RETRIED = frozenset({408, 409, 425, 429, *range(500, 600)}) - {501}
LONGEST_WAIT = 60.0  # seconds, whatever the server asks for
HOPELESS = 8
"""After so many rollouts in a row without an answer, each after all its tries, the server is not asked any more."""

_HINTS = {
    401: "OPENAI_API_KEY is what it was given as the key", 403: "OPENAI_API_KEY is what it was given as the key",
    404: "are the path of --server and the model's name right?",
}

_TOO_LONG = re.compile(
    r"context|too (?:long|large|many tokens)|longer than|(?:max\w*|token)[ _](?:model[ _])?(?:len|limit)",
    re.IGNORECASE,
)
"""How a server says that a question does not fit, with one of the codes for requests that it does not take."""

_OPENS = ("the server's chat template opens the thinking and does not keep it apart: with --open-thinking what is cut "
          "off inside it is no answer")

WHOLE: Mapping[str, Mapping[str, float]] = {
    "vllm": {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0},
    "sglang": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "llamacpp": {"top_k": 0, "min_p": 0.0},
}
"""What these servers have to be told so that they draw from the whole distribution: where a request says nothing, vLLM
and SGLang take the model's generation_config (a top_k of 20 for Qwen3), and llama.cpp its own (40). OpenAI and others
refuse fields that they do not know. By the name under which a server says that it owns its models."""

ASKED_FOR = 10.0
"""Seconds for a server to say what it is, at each try."""

_MOST_MODELS = 2**22
"""Bytes of that; the list of a provider of hundreds of models has nearly a million."""

Outcome = tuple[Problem, int, "Completion | NoAnswer | ServerError"]


@dataclass
class Server:
    """Asks `model` at `url`. `jobs` requests run at once, each waits `timeout` seconds and is tried `tries` times,
    `wait` seconds after the first failure and twice as long after each further one (or as long as the server asks)."""

    url: str
    model: str
    protocol: Protocol
    jobs: int = 8
    timeout: float = 600.0
    tries: int = 5
    wait: float = 1.0
    whole: Mapping[str, float] = field(default_factory=dict, init=False)
    key: str = field(default_factory=lambda: os.environ.get("OPENAI_API_KEY", ""), repr=False)

    def __post_init__(self) -> None:
        self.url = _checked(self.url)
        # The line break of the file that it was read from is no part of a key.
        self.key = self.key.strip()
        if not re.fullmatch(r"[!-~]*", self.key):
            raise ServerError("OPENAI_API_KEY holds characters that no key has, such as a space; set it again")
        self.chat = self.protocol.prompting.template in ("auto", "chat")
        if self.protocol.prompting.thinking_budget is not None:
            raise ServerError("a thinking budget needs the model's own engine; leave it out with --server")
        if self.protocol.prompting.tools is not None:
            raise ServerError("tools need the model's own engine; leave them out with --server")

    def prompts(self, problems: Sequence[Problem]) -> Sequence[object]:
        """What is sent of each problem: messages for a chat, text otherwise."""
        how = self.protocol.prompting
        if self.chat:
            return [conversation(problem, how) for problem in problems]
        after = OPEN if how.open_thinking else ""
        return [plain_text(problem, how) + after for problem in problems]

    def answers(self, problems: Sequence[Problem], have: set[tuple[str, int]]) -> Iterator[list[Rollout]]:
        """Each answer as it comes; those in `have` are not asked for. Raises Unanswered at the end where some did not
        come, or at once where the server is silent about what it is, and ServerError where it refuses.

        A question that is too long for the server counts as cut off, as one does that is too long for a local model,
        where the server answers others: if it takes none, something else is wrong.
        """
        prompts = dict(zip((p.id for p in problems), self.prompts(problems), strict=True))
        wanted = [(p, i) for p in problems for i in range(self.protocol.rollouts) if (p.id, i) not in have]
        silent, in_a_row, reason = 0, 0, ""
        refused: ServerError | None = None
        overlong: list[tuple[Problem, int, Overlong]] = []
        answered = bool(have)
        with _Asking(self, prompts, wanted) as found:
            for problem, index, outcome in found:
                if isinstance(outcome, Overlong):
                    overlong.append((problem, index, outcome))
                    continue
                if isinstance(outcome, ServerError):
                    refused = outcome
                    break
                if isinstance(outcome, NoAnswer):
                    silent, in_a_row, reason = silent + 1, in_a_row + 1, str(outcome)
                    if in_a_row >= HOPELESS:
                        break
                    continue
                in_a_row, answered = 0, True
                yield [_graded(problem, index, outcome)]
        # Answers that came while the others were being given up are answers too.
        for problem, index, outcome in found:
            if isinstance(outcome, Completion):
                yield [_graded(problem, index, outcome)]
        if refused:
            raise refused
        if overlong and not answered:
            raise overlong[-1][2]
        for problem, index, _ in overlong:
            yield [_graded(problem, index, Completion("", finished=False))]
        if silent:
            raise Unanswered(reason)

    def client(self) -> Client:
        """Raises ServerError where the environment names a proxy or certificates that are none."""
        return Client(self.url, self.key, self.jobs, self.timeout, most_bytes(self.protocol.sampling.max_tokens))

    def body(self, problem: Problem, index: int, prompt: object) -> dict[str, Any]:
        """What one rollout of a problem is asked with."""
        sampling, how = self.protocol.sampling, self.protocol.prompting
        # Some servers hold a seed in 32 bits with a sign.
        seed = rollout_seed(self.protocol.seed, "eval", problem.id, index) % 2**31
        return {
            "model": self.model, "max_tokens": sampling.max_tokens, "temperature": sampling.temperature,
            "top_p": sampling.top_p, "seed": seed, **({"stop": list(how.stop)} if how.stop else {}),
            # not OpenAI's own, but vLLM's, SGLang's and llama.cpp's
            **self.whole,
            **({"top_k": sampling.top_k} if sampling.top_k else {}),
            **({"min_p": sampling.min_p} if sampling.min_p else {}),
            **({"messages": prompt, **_options(how.template_options)} if self.chat else {"prompt": prompt}),
        }

    async def look(self, client: Client) -> None:
        """Find out which program the server is, and so what it has to be told beside what OpenAI's is. Raises
        Unanswered where nothing came after all tries, as of one that still loads: its questions might be answered
        later, and from another distribution."""
        def read(response: Response) -> bytes:
            return response.body

        try:
            body = await self._patiently(lambda: client.get("models", ASKED_FOR, _MOST_MODELS), read)
        except NoAnswer as error:
            raise Unanswered(f"{self.url}/models, by which a server says what it is: {error}") from error
        # It need not say.
        with contextlib.suppress(ValueError, LookupError, AttributeError, TypeError, RecursionError):
            self.whole = WHOLE.get(json.loads(body)["data"][0].get("owned_by"), {})

    async def ask(self, client: Client, body: dict[str, Any]) -> Completion:
        """One completion. Raises NoAnswer after all tries, and ServerError where another try would not help."""
        path = "chat/completions" if self.chat else "completions"
        try:
            return await self._patiently(lambda: client.post(path, body), self._completion)
        except NoText as error:
            return error.completion

    async def _patiently(
        self, send: Callable[[], Awaitable[Response]], read: Callable[[Response], Kind]
    ) -> Kind:
        """What `read` makes of the response. Raises the last NoAnswer after all tries, and what else `read` raises."""
        silence = NoAnswer("it was not asked")
        for attempt in range(self.tries):
            pause = self.wait * 2**attempt
            try:
                response = await send()
                if response.status not in RETRIED:
                    return read(response)
                silence, pause = NoAnswer(self._told(response)), _seconds(response.retry_after, pause)
            except NoAnswer as error:
                silence = error
            if attempt < self.tries - 1:
                await asyncio.sleep(min(pause, LONGEST_WAIT))
        raise silence

    def _completion(self, response: Response) -> Completion:
        """What was answered, with the <think> that the prompt had. Raises NoAnswer, and ServerError for a refusal."""
        if response.status != 200:
            said = response.body[:2000].decode(errors="replace")
            too_long = response.status in (400, 413, 422) and _TOO_LONG.search(said)
            raise (Overlong if too_long else ServerError)(self._refusal(response))
        opened, most = self.protocol.prompting.open_thinking, self.protocol.sampling.max_tokens
        if not self.chat:
            return completion_of(response.body, OPEN if opened else "", most)
        found = completion_of(response.body, "", most)
        if OPEN in found.text:
            return found
        if opened:  # by the template
            return replace(found, text=OPEN + found.text)
        if "</think>" in found.text:
            warnings.warn(_OPENS, RuntimeWarning, stacklevel=2)
        return found

    def _refusal(self, response: Response) -> str:
        if 300 <= response.status < 400:
            place = shortened(response.location) or "another place"
            return (f"{self.url} sends on to {place} (HTTP {response.status}), which is not followed, since the key "
                    "and the questions are for this server alone; give the right URL with --server")
        hint = _HINTS.get(response.status, "")
        return f"{self.url} refuses: {self._told(response)}{f' ({hint})' if hint else ''}"

    def _told(self, response: Response) -> str:
        said = response.body[:300].decode(errors="replace")
        # A server that repeats the key in its complaint must not bring it into logs.
        said = said.replace(self.key, "[the key]") if self.key else said
        return shortened(f"HTTP {response.status} {said}")


class _Asking:
    """Requests of `server` in a thread of their own, whose event loop can end each of them at any moment.

    Iterating gives outcomes as they come; after the block, those that are left over. Leaving the block gives up what is
    still being asked, at once.
    """

    def __init__(
        self, server: Server, prompts: dict[str, object], wanted: Sequence[tuple[Problem, int]]
    ) -> None:
        self._server, self._prompts, self._wanted = server, prompts, wanted
        self._found: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ask-server", daemon=True)

    def __enter__(self) -> "_Asking":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The loop is closed where everything was answered.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join()
        self._found.put(None)  # for who takes what is left over

    def __iter__(self) -> Iterator[Outcome]:
        while (found := self._found.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found

    def _run(self) -> None:
        try:
            asyncio.run(self._ask_all())
        except asyncio.CancelledError:
            return
        except BaseException as error:  # a fault of ours is raised where the outcomes are waited for
            self._found.put(error)
        finally:
            self._ready.set()
            self._found.put(None)

    async def _ask_all(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "this is run as a task"
        self._loop, self._cancel = asyncio.get_running_loop(), task.cancel
        self._ready.set()
        waiting = iter(self._wanted)
        async with self._server.client() as client:
            await self._server.look(client)
            # As many as there may be requests at once, each of which takes the next one when it has an outcome.
            at_once = min(self._server.jobs, len(self._wanted))
            await asyncio.gather(*(self._ask_some(client, waiting) for _ in range(at_once)))

    async def _ask_some(self, client: Client, waiting: Iterator[tuple[Problem, int]]) -> None:
        for problem, index in waiting:
            body = self._server.body(problem, index, self._prompts[problem.id])
            outcome: Completion | NoAnswer | ServerError
            try:
                outcome = await self._server.ask(client, body)
            except (NoAnswer, ServerError) as error:
                outcome = error
            self._found.put((problem, index, outcome))


def _checked(url: str) -> str:
    """The URL under which the interface is. Raises ServerError where it is none."""
    wrong = f"--server {url!r} is no URL of a server; write it like http://localhost:8000/v1"
    try:
        parts = urlsplit(url)
        port = parts.port
        httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL) as error:
        raise ServerError(wrong) from error
    if parts.username or parts.password:
        raise ServerError("--server holds a name or a password, which would stand in every report; leave them out")
    known = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not known or parts.query or parts.fragment or re.search(r"\s", url):
        raise ServerError(wrong)
    # A bare host is completed by the path under which servers have this interface.
    return url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for the chat template as servers take them: OpenAI's own under their names, all others beside them."""
    named = {key: value for key, value in options.items() if key in ("reasoning_effort", "tools")}
    others = {key: value for key, value in options.items() if key not in named}
    # not OpenAI's own, but vLLM's, SGLang's and llama.cpp's
    return {**named, **({"chat_template_kwargs": others} if others else {})}


def _graded(problem: Problem, index: int, completion: Completion) -> Rollout:
    return Rollout(problem, index, completion, grade(problem, completion))


def _seconds(text: str, otherwise: float) -> float:
    """What Retry-After asks for, where it is a number of seconds."""
    # Of a number of more digits nothing matters but that it is long.
    return float(text) if re.fullmatch(r"[0-9]{1,9}", text) else otherwise
