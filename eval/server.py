"""Answers of any OpenAI-compatible server: one request a rollout, retried while there is hope, none lost."""

import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any  # JSON, and a server may answer with any
from urllib.parse import urlsplit

from eval.engine.types import rollout_seed
from eval.errors import ServerError, Unanswered
from eval.prompts import THINK, messages, plain_text
from eval.protocol import Protocol
from eval.rollouts import Rollout
from rewards.grade import grade
from rewards.types import Completion, Problem

# Timeouts, conflicts, too many requests and faults of the server: the same request may go well later.
RETRIED = frozenset({408, 409, 425, 429, *range(500, 600)})
LONGEST_WAIT = 60.0  # seconds, whatever the server asks for
HOPELESS = 8
"""After so many rollouts in a row without an answer, each after all its tries, the server is not asked any more."""


class _Silent(Exception):
    """No answer to one request, after all tries. The message says what came instead of the last one."""


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
    key: str = field(default_factory=lambda: os.environ.get("OPENAI_API_KEY", ""), repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ServerError(f"--server {self.url!r} is no URL of a server; write it like http://localhost:8000/v1")
        # A bare host is completed by the path under which servers have this interface.
        self.url = self.url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")
        self._given_up = threading.Event()
        self.chat = self.protocol.prompting.template in ("auto", "chat")
        if self.chat and self.protocol.prompting.open_thinking:
            raise ServerError("a server's chat template cannot be made to begin with <think>; give --template r1 or qa")
        if self.protocol.prompting.thinking_budget is not None:
            raise ServerError("a thinking budget needs the model's own engine; leave it out with --server")

    def prompts(self, problems: Sequence[Problem]) -> Sequence[object]:
        """What is sent of each problem: messages for a chat, text otherwise."""
        how = self.protocol.prompting
        if self.chat:
            return [messages(problem.prompt, how.shots) for problem in problems]
        after = THINK if how.open_thinking else ""
        return [plain_text(problem.prompt, how.template, how.shots) + after for problem in problems]

    def answers(self, problems: Sequence[Problem], have: set[tuple[str, int]]) -> Iterator[list[Rollout]]:
        """Each answer as it comes; those in `have` are not asked for. Raises Unanswered at the end where some did not
        come, and ServerError where the server refuses."""
        prompts = dict(zip((p.id for p in problems), self.prompts(problems), strict=True))
        wanted = [(p, i) for p in problems for i in range(self.protocol.rollouts) if (p.id, i) not in have]
        silent, in_a_row, reason = 0, 0, ""
        with ThreadPoolExecutor(self.jobs) as threads:
            asked: dict[Future[Completion], tuple[Problem, int]] = {
                threads.submit(self._ask, prompts[p.id], self._seed(p, i)): (p, i) for p, i in wanted
            }
            try:
                for future in as_completed(list(asked)):
                    try:
                        answer = future.result()
                    except _Silent as error:
                        silent, in_a_row, reason = silent + 1, in_a_row + 1, str(error)
                        if in_a_row >= HOPELESS:
                            break
                        continue
                    in_a_row = 0
                    yield [_graded(*asked.pop(future), answer)]
            finally:
                self._given_up.set()  # nobody goes on trying
                threads.shutdown(cancel_futures=True)
                self._given_up.clear()
        # Answers that came while the others were being given up are answers too.
        for future, (problem, index) in asked.items():
            if not future.cancelled() and not future.exception():
                yield [_graded(problem, index, future.result())]
        if silent:
            raise Unanswered(reason)

    def _seed(self, problem: Problem, index: int) -> int:
        # Some servers hold a seed in 32 bits with a sign.
        return rollout_seed(self.protocol.seed, "eval", problem.id, index) % 2**31

    def _ask(self, prompt: object, seed: int) -> Completion:
        sampling, how = self.protocol.sampling, self.protocol.prompting
        body = {
            "model": self.model, "max_tokens": sampling.max_tokens, "temperature": sampling.temperature,
            "top_p": sampling.top_p, "seed": seed, **({"stop": list(how.stop)} if how.stop else {}),
            # not OpenAI's own, but vLLM's, SGLang's and llama.cpp's
            **({"top_k": sampling.top_k} if sampling.top_k else {}),
            **({"min_p": sampling.min_p} if sampling.min_p else {}),
            **({"messages": prompt} if self.chat else {"prompt": prompt}),
        }
        for attempt in range(self.tries):
            try:
                return _completion(self._post(body), THINK if how.open_thinking else "")
            except urllib.error.HTTPError as error:
                said = " ".join(error.read(300).decode(errors="replace").split())
                reason = f"HTTP {error.code} {said}".strip()
                if error.code not in RETRIED:
                    raise ServerError(f"{self.url} refuses: {reason}") from error
                pause = _seconds(error.headers.get("Retry-After"), self.wait * 2**attempt)
            except (OSError, ValueError, LookupError, TypeError) as error:  # no answer, or one that is none
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                pause = self.wait * 2**attempt
            # An event and no sleep: when the server is given up, all requests that pause end at once.
            if attempt < self.tries - 1 and self._given_up.wait(min(pause, LONGEST_WAIT)):
                break
        raise _Silent(reason)

    def _post(self, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        request = urllib.request.Request(
            f"{self.url}/{'chat/completions' if self.chat else 'completions'}", json.dumps(body).encode(), headers
        )
        deadline = time.monotonic() + self.timeout
        parts: list[bytes] = []
        with urllib.request.urlopen(request, timeout=self.timeout) as response:
            while part := response.read1(65536):  # a server that drips must not hold us for ever
                parts.append(part)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no whole answer in {self.timeout:g} seconds")
        return json.loads(b"".join(parts))


def _graded(problem: Problem, index: int, completion: Completion) -> Rollout:
    return Rollout(problem, index, completion, grade(problem, completion))


def _completion(answer: Any, before: str) -> Completion:
    """The completion that an answer holds; thinking that the server keeps apart is put back in its tags."""
    choice = answer["choices"][0]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    thinking = choice["message"].get("reasoning_content") if "message" in choice else None
    if not isinstance(text, str) and not thinking:
        raise ValueError("the answer holds no text")
    text = text or ""
    if thinking:
        # Where the tokens ended inside the thinking its tag stays open, so that the verdict is TRUNCATED.
        closed = "</think>" if text or choice.get("finish_reason") != "length" else ""
        text = f"<think>{thinking}{closed}{text}"
    tokens = (answer.get("usage") or {}).get("completion_tokens", 0)
    return Completion(before + text, choice.get("finish_reason") != "length", int(tokens))


def _seconds(text: str | None, otherwise: float) -> float:
    """What Retry-After asks for, where it is a number of seconds."""
    return float(text) if text and text.strip().isdigit() else otherwise
