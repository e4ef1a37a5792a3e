"""An OpenAI-compatible server that is slow, fails, hangs or says nonsense: a real one, on a local port."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from eval.answers import read_rows, rollouts
from eval.engine.types import Sampling
from eval.errors import ServerError, Unanswered
from eval.instructions import DEFAULTS
from eval.protocol import Prompting, Protocol
from eval.server import Server
from rewards.types import Problem

PROBLEMS = [Problem(f"p{i}", f"What is {i} + 1?", str(i + 1), "math", "sums") for i in range(12)]


class Asked:
    """What the server does with the k-th request for a prompt, and what it was asked."""

    def __init__(self, behave: Callable[[str, int], Any]) -> None:
        self.behave, self.lock = behave, threading.Lock()
        self.seen, self.bodies = Counter[str](), list[dict[str, Any]]()

    def next(self, body: dict[str, Any]) -> Any:
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        with self.lock:
            self.seen[prompt] += 1
            self.bodies.append(body)
            count = self.seen[prompt]
        return self.behave(prompt, count)


def right(prompt: str, chat: bool = True) -> dict[str, Any]:
    """The right answer to "What is 3 + 1?", thought about."""
    text = f"<think>So.</think><answer>{int(prompt.split('What is ')[-1].split()[0]) + 1}</answer>"
    choice = {"message": {"content": text}} if chat else {"text": text}
    return {"choices": [{**choice, "finish_reason": "stop"}], "usage": {"completion_tokens": 7}}


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[str, Asked]]]:
    """serve(behave) -> (url, what was asked). `behave` gives an answer, or (status, headers), or b"bytes", or
    raises. `models` is what it says of itself; `late` of its first requests of any kind find it loading."""
    servers = []

    def start(behave: Callable[[str, int], Any], models: bytes | None = None, late: int = 0) -> tuple[str, Asked]:
        asked = Asked(behave)
        loading = iter(range(late))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if next(loading, None) is not None:
                    self.send_error(503)
                    return
                if models is None or self.path != "/v1/models":
                    self.send_error(404)
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(models)

            def do_POST(self) -> None:
                found = asked.next(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if found is None:  # the connection breaks
                    self.close_connection = True
                    return
                status, headers, body = 200, {}, found
                if isinstance(found, tuple):
                    status, headers, body = (*found, {"error": "no"})[:3]
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    return  # nobody waited for the answer

            def log_message(self, *_: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def of(url: str, n: int = 1, prompting: Prompting | None = None, **options: Any) -> Server:
    protocol = Protocol(prompting or Prompting(instruction=None), Sampling(64, 0.6, 0.95, top_k=20), n, 3)
    return Server(url, "org/some", protocol, **{"jobs": 4, "timeout": 30.0, "tries": 4, "wait": 0.01, **options})


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["verdict"] for row in rows]


def test_every_problem_is_asked_as_the_protocol_says(serve: Any, tmp_path: Path) -> None:
    url, asked = serve(lambda prompt, _: right(prompt))
    rows = rollouts(of(url, n=2), PROBLEMS, 2, tmp_path / "rows.jsonl")
    assert [(row["problem"], row["index"]) for row in rows] == [(p.id, i) for p in PROBLEMS for i in range(2)]
    assert set(verdicts(rows)) == {"correct"}
    assert {row["tokens"] for row in rows} == {7}
    body = asked.bodies[0]
    assert (body["model"], body["max_tokens"], body["temperature"], body["top_p"]) == ("org/some", 64, 0.6, 0.95)
    assert body["top_k"] == 20
    assert "min_p" not in body  # not every server knows it
    assert len({body["seed"] for body in asked.bodies}) == 24
    assert read_rows(tmp_path / "rows.jsonl") == rows
    assert not list(tmp_path.glob("*.partial"))


def test_what_fails_is_tried_again(serve: Any, tmp_path: Path) -> None:
    def behave(prompt: str, count: int) -> Any:
        failures = [(500, {}), (429, {"Retry-After": "0"}), None, b"<html>not json", {"choices": []}]
        return failures[int(prompt.split()[2]) % 5] if count == 1 else right(prompt)

    url, asked = serve(behave)
    assert set(verdicts(rollouts(of(url), PROBLEMS, 1, tmp_path / "rows.jsonl"))) == {"correct"}
    assert set(asked.seen.values()) == {2}


def test_a_slow_answer_is_given_up_and_asked_for_again(serve: Any, tmp_path: Path) -> None:
    def behave(prompt: str, count: int) -> Any:
        if count == 1 and "3 +" in prompt:
            time.sleep(1.5)
        return right(prompt)

    url, asked = serve(behave)
    assert set(verdicts(rollouts(of(url, timeout=0.8), PROBLEMS, 1, tmp_path / "rows.jsonl"))) == {"correct"}
    assert asked.seen["What is 3 + 1?"] >= 2


def test_what_is_never_answered_is_told_and_nothing_else_is_lost(serve: Any, tmp_path: Path) -> None:
    broken = {"What is 3 + 1?", "What is 8 + 1?"}
    url, asked = serve(lambda prompt, _: (503, {}) if prompt in broken else right(prompt))
    file = tmp_path / "rows.jsonl"
    with pytest.raises(Unanswered, match="HTTP 503"):
        rollouts(of(url), PROBLEMS, 1, file)
    assert not file.exists()
    assert len(read_rows(tmp_path / "rows.jsonl.partial")) == 10
    assert asked.seen["What is 3 + 1?"] == 4
    before = dict(asked.seen)
    broken.clear()
    rows = rollouts(of(url), PROBLEMS, 1, file)
    assert verdicts(rows) == ["correct"] * 12
    again = {prompt: count - before[prompt] for prompt, count in asked.seen.items() if count != before[prompt]}
    assert again == {"What is 3 + 1?": 1, "What is 8 + 1?": 1}
    whole = tmp_path / "whole.jsonl"
    rollouts(of(url), PROBLEMS, 1, whole)
    assert whole.read_bytes() == file.read_bytes()


def test_a_server_that_never_answers_is_left_soon(serve: Any, tmp_path: Path) -> None:
    answered = {p.prompt for p in PROBLEMS[:3]}

    def behave(prompt: str, _: int) -> Any:
        if prompt not in answered:
            time.sleep(1.5)
        return right(prompt)

    url, asked = serve(behave)
    many = [*PROBLEMS, *(Problem(f"q{i}", f"What is {i + 50} + 1?", str(i + 51), "math", "sums") for i in range(200))]
    with pytest.raises(Unanswered, match="timed out"):
        rollouts(of(url, tries=2, timeout=0.5), many, 1, tmp_path / "rows.jsonl")
    assert len(asked.seen) < 40, "it does not go through all of them"
    assert len(read_rows(tmp_path / "rows.jsonl.partial")) == 3


def test_who_stops_waits_for_no_answer(serve: Any) -> None:
    """As Ctrl-C does, while requests hang that have ten minutes each."""
    hangs = threading.Event()

    def behave(prompt: str, _: int) -> Any:
        if prompt != PROBLEMS[0].prompt:
            hangs.wait(60)
        return right(prompt)

    url, _ = serve(behave)
    answers = of(url, timeout=600.0).answers(PROBLEMS, set())
    assert [rollout.problem.id for rollout in next(answers)] == ["p0"]
    answers.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ask-server"]
    assert not hangs.is_set()
    hangs.set()


def test_a_fault_in_the_asking_is_raised_where_answers_are_waited_for(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = serve(lambda prompt, _: right(prompt))
    server = of(url)
    monkeypatch.setattr(server, "body", lambda *_: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        list(server.answers(PROBLEMS, set()))


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="Connection refused"):
        rollouts(of("http://127.0.0.1:9", tries=1), PROBLEMS, 1, tmp_path / "rows.jsonl")


def test_a_refusal_is_not_tried_again(serve: Any, tmp_path: Path) -> None:
    url, asked = serve(lambda *_: (404, {}))
    with pytest.raises(ServerError, match=r"refuses: HTTP 404"):
        rollouts(of(url, jobs=1), PROBLEMS, 1, tmp_path / "rows.jsonl")
    assert max(asked.seen.values()) == 1


def test_thinking_kept_apart_and_cut_answers(serve: Any, tmp_path: Path) -> None:
    def behave(prompt: str, _: int) -> Any:
        cut = "3 +" in prompt
        message = {"content": None if cut else "<answer>1</answer>", "reasoning_content": "Well"}
        return {"choices": [{"message": message, "finish_reason": "length" if cut else "stop"}]}

    url, _ = serve(behave)
    rows = rollouts(of(url), PROBLEMS[:4], 1, tmp_path / "rows.jsonl")
    assert rows[0]["text"] == "<think>Well</think><answer>1</answer>"
    assert verdicts(rows) == ["correct", "wrong", "wrong", "truncated"]


def test_plain_templates_go_to_completions(serve: Any, tmp_path: Path) -> None:
    url, asked = serve(lambda prompt, _: right(prompt, chat=False))
    prompting = Prompting(template="qa", shots=(("What is 9 + 9?", "18"),), stop=("Question:",))
    assert set(verdicts(rollouts(of(url, prompting=prompting), PROBLEMS, 1, tmp_path / "rows.jsonl"))) == {"correct"}
    body = next(body for body in asked.bodies if "What is 4 + 1?" in body["prompt"])
    assert body["prompt"] == "Question: What is 9 + 9?\nAnswer: 18\n\nQuestion: What is 4 + 1?\nAnswer:"
    assert body["stop"] == ["Question:"]
    opened = Prompting(template="r1", open_thinking=True)
    rows = rollouts(of(url, prompting=opened), PROBLEMS[:1], 1, tmp_path / "open.jsonl")
    assert asked.bodies[-1]["prompt"].endswith("What is 0 + 1?. Assistant:<think>")
    assert rows[0]["text"].startswith("<think>")


@pytest.mark.parametrize(("opened", "expected"), [(True, ["correct", "truncated"]), (False, ["correct", "correct"])])
def test_a_template_of_the_server_opens_the_thinking(serve: Any, tmp_path: Path, opened: bool, expected: list[str]
                                                     ) -> None:
    def behave(prompt: str, _: int) -> Any:
        cut = "What is 1 +" in prompt
        text = "So \\boxed{2}? Hmm" if cut else "So.</think>\\boxed{1}"
        return {"choices": [{"message": {"content": text}, "finish_reason": "length" if cut else "stop"}]}

    url, _ = serve(behave)
    server = of(url, prompting=Prompting(open_thinking=opened), jobs=1)
    with nullcontext() if opened else pytest.warns(RuntimeWarning, match="with --open-thinking"):
        rows = rollouts(server, PROBLEMS[:2], 1, tmp_path / "rows.jsonl")
    assert verdicts(rows) == expected


TOO_LONG = (400, {}, b'{"message": "This model\'s maximum context length is 64 tokens"}')


def test_a_question_that_is_too_long_is_cut_off_where_others_are_answered(serve: Any, tmp_path: Path) -> None:
    url, asked = serve(lambda prompt, _: TOO_LONG if "What is 1 +" in prompt else right(prompt))
    rows = rollouts(of(url), PROBLEMS[:3], 1, tmp_path / "rows.jsonl")
    assert verdicts(rows) == ["correct", "truncated", "correct"]
    assert rows[1]["text"] == ""
    assert len(asked.bodies) == 3
    everything, _ = serve(lambda *_: TOO_LONG)
    with pytest.raises(ServerError, match="maximum context length"):
        rollouts(of(everything), PROBLEMS[:3], 1, tmp_path / "none.jsonl")


def test_an_answer_without_text_is_kept_after_the_last_try(serve: Any, tmp_path: Path) -> None:
    def behave(prompt: str, _: int) -> Any:
        ended = "length" if "What is 1 +" in prompt else "content_filter"
        return {"choices": [{"message": {"content": None}, "finish_reason": ended}]}

    url, asked = serve(behave)
    rows = rollouts(of(url, tries=2), PROBLEMS[:2], 1, tmp_path / "rows.jsonl")
    assert verdicts(rows) == ["no_answer", "truncated"]
    assert len(asked.bodies) == 3


def test_what_a_server_cannot_do_is_said_at_once() -> None:
    for url, prompting, expected in (
        ("localhost:8000", Prompting(), "is no URL of a server"),
        ("http://x", Prompting(thinking_budget=9), "leave it out with --server"),
    ):
        with pytest.raises(ServerError, match=expected):
            of(url, prompting=prompting)


def test_how_a_question_is_put_is_said_to_the_server(serve: Any, tmp_path: Path) -> None:
    url, asked = serve(lambda prompt, _: right(prompt))
    options = {"reasoning_effort": "low", "enable_thinking": False, "tools": []}
    prompting = Prompting(system="Be right.", template_options=options)
    assert set(verdicts(rollouts(of(url, prompting=prompting), PROBLEMS[:2], 1, tmp_path / "a.jsonl"))) == {"correct"}
    body = asked.bodies[0]
    assert body["messages"][0] == {"role": "system", "content": "Be right."}
    assert body["messages"][1]["content"].endswith(f"+ 1?\n\n{DEFAULTS['math']}")
    assert (body["reasoning_effort"], body["tools"]) == ("low", [])
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    rollouts(of(url, prompting=Prompting("qa")), PROBLEMS[:1], 1, tmp_path / "b.jsonl")
    assert asked.bodies[-1]["prompt"] == "Question: What is 0 + 1?\nAnswer:"


def test_thinking_has_one_name_or_another_and_gpt_oss_has_channels(serve: Any, tmp_path: Path) -> None:
    said: list[dict[str, Any]] = [
        {"content": "1", "reasoning": "Well"}, {"content": "2", "reasoning": "Well", "reasoning_content": "Well"},
        {"content": "<|channel|>analysis<|message|>Well<|end|><|start|>assistant<|channel|>final<|message|>3"},
        {"content": "<|channel|>analysis<|message|>Well \\boxed{4}"},
    ]

    def behave(prompt: str, _: int) -> Any:
        place = int(prompt.split()[2])
        return {"choices": [{"message": said[place], "finish_reason": "length" if place == 3 else "stop"}]}

    url, _ = serve(behave)
    rows = rollouts(of(url), PROBLEMS[:4], 1, tmp_path / "rows.jsonl")
    assert verdicts(rows) == ["correct", "correct", "correct", "truncated"]
    assert [row["text"] for row in rows[:3]] == [f"<think>Well</think>{number}" for number in (1, 2, 3)]


@pytest.mark.parametrize(("models", "sent"), [
    (b'{"data": [{"id": "m", "owned_by": "vllm"}]}', {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}),
    (b'{"data": [{"id": "m", "owned_by": "sglang"}]}', {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}),
    (b'{"data": [{"id": "m", "owned_by": "openai"}]}', {}),
    (b'{"data": []}', {}),
    (b'{"data": [{"owned_by": ["vllm"]}]}', {}),
    (b"no JSON", {}),
    pytest.param(b"[" * 100_000, {}, id="deep"),
    (None, {}),
])
def test_a_server_with_defaults_of_its_own_is_told_to_leave_them(
    serve: Callable[..., tuple[str, Asked]], models: bytes | None, sent: dict[str, float]
) -> None:
    url, asked = serve(lambda prompt, _: right(prompt), models)
    plain = Protocol(Prompting(instruction=None), Sampling(64, 0.6), 1, 3)
    list(Server(url, "m", plain, wait=0.01).answers(PROBLEMS[:2], set()))
    for body in asked.bodies:
        assert {key: body[key] for key in ("top_k", "min_p", "repetition_penalty") if key in body} == sent


def test_what_is_asked_for_goes_before_what_a_server_is_told(serve: Callable[..., tuple[str, Asked]]) -> None:
    url, asked = serve(lambda prompt, _: right(prompt), b'{"data": [{"owned_by": "vllm"}]}')
    narrow = Protocol(Prompting(instruction=None), Sampling(64, 0.6, top_k=20, min_p=0.1), 1, 3)
    list(Server(url, "m", narrow, wait=0.01).answers(PROBLEMS[:1], set()))
    assert (asked.bodies[0]["top_k"], asked.bodies[0]["min_p"]) == (20, 0.1)


def test_a_server_that_still_loads_is_asked_again_what_it_is(serve: Callable[..., tuple[str, Asked]]) -> None:
    """Else its questions, which are tried again, would be answered by defaults of its own."""
    url, asked = serve(lambda prompt, _: right(prompt), b'{"data": [{"owned_by": "vllm"}]}', late=3)
    plain = Protocol(Prompting(instruction=None), Sampling(64, 0.6), 1, 3)
    list(Server(url, "m", plain, tries=4, wait=0.01).answers(PROBLEMS[:2], set()))
    assert [body["top_k"] for body in asked.bodies] == [0, 0]


def test_nothing_is_asked_of_a_server_that_is_silent_about_what_it_is(
    serve: Callable[..., tuple[str, Asked]], tmp_path: Path
) -> None:
    url, asked = serve(lambda prompt, _: right(prompt), b'{"data": [{"owned_by": "vllm"}]}', late=4)
    with pytest.raises(Unanswered, match=r"/v1/models, by which a server says what it is: HTTP 503"):
        rollouts(of(url), PROBLEMS, 1, tmp_path / "rows.jsonl")
    assert asked.bodies == []
    # The same command goes on.
    assert set(verdicts(rollouts(of(url), PROBLEMS, 1, tmp_path / "rows.jsonl"))) == {"correct"}


def test_what_a_server_does_not_have_is_not_asked_again(serve: Any, tmp_path: Path) -> None:
    url, asked = serve(lambda *_: (501, {}))
    with pytest.raises(ServerError, match=r"refuses: HTTP 501"):
        rollouts(of(url, jobs=1), PROBLEMS[:1], 1, tmp_path / "rows.jsonl")
    assert len(asked.bodies) == 1


def test_the_list_of_a_provider_of_many_models_is_read(serve: Callable[..., tuple[str, Asked]], tmp_path: Path) -> None:
    models = json.dumps({"data": [{"owned_by": "vllm", "description": "m" * 2000}] * 1000}).encode()
    url, asked = serve(lambda prompt, _: right(prompt), models)
    assert set(verdicts(rollouts(of(url), PROBLEMS[:1], 1, tmp_path / "rows.jsonl"))) == {"correct"}
    assert asked.bodies[0]["repetition_penalty"] == 1.0
