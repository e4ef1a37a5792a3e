from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from eval.engine.native import NativeEngine
from eval.engine.types import Request, Sampled, Sampling
from eval.errors import ServerError
from eval.vllm.engine import VllmEngine
from eval.vllm.server import VllmServer
from pipeline.moe.routers import routers
from tests.hostile import body, serving
from tests.vllm_stand_in import StandIn, served_by

Tiny = Callable[..., Any]
REQUESTS = [Request([5, 6, 7], [1, 2**64 - 1]), Request([8, 9], [3])]
SAMPLING = Sampling(12, 0.8)
ENDS = frozenset({3})


def test_rollouts_are_those_of_the_model_with_ids_logprobs_and_experts(tiny: Tiny) -> None:
    model = tiny("deepseek_v3")  # its first layer has no experts
    layers = [router.layer for router in routers(model)]
    told: list[tuple[int, int]] = []
    done: list[tuple[int, int]] = []
    with served_by(StandIn(model, experts=True)) as url:
        engine = VllmEngine(VllmServer(url), ENDS, layers)
        found = engine.sample(REQUESTS, SAMPLING, lambda *one: done.append(one), lambda *one: told.append(one[:2]))
    users = [router.users for router in routers(model)]
    seeds = [[seed % 2**63 for seed in one.seeds] for one in REQUESTS]
    ours = NativeEngine(model, ENDS, experts=users).sample(
        [Request(one.prompt, kept) for one, kept in zip(REQUESTS, seeds, strict=True)], SAMPLING
    )
    assert [len(group) for group in found] == [2, 1]
    for group, other in zip(found, ours, strict=True):
        for one, two in zip(group, other, strict=True):
            assert (one.ids, one.finished) == (two.ids, two.finished)
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)
            assert one.experts is not None
            assert torch.equal(one.experts, two.experts)
    assert sorted(told) == [(0, 0), (0, 1), (1, 0)]
    assert done[-1] == (3, 3)


def test_everything_that_narrows_is_sent(tiny: Tiny) -> None:
    stand_in = StandIn(tiny("qwen3"))
    with served_by(stand_in) as url:
        bounded = Request(REQUESTS[1].prompt, REQUESTS[1].seeds, max_tokens=2)
        VllmEngine(VllmServer(url), ENDS).sample([REQUESTS[1]], Sampling(4, 0.5, stop=("a",)))
        VllmEngine(VllmServer(url), ENDS).sample([bounded], Sampling(4))
    sent, less = stand_in.bodies
    assert sent["prompt"] == [8, 9]  # ids, which are not tokenized again
    assert (sent["top_k"], sent["top_p"], sent["min_p"], sent["repetition_penalty"]) == (0, 1.0, 0.0, 1.0)
    assert (sent["stop_token_ids"], sent["stop"], sent["include_stop_str_in_output"]) == ([3], ["a"], True)
    assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (0.5, 4, 3)
    assert less["max_tokens"] == 2


def test_a_server_that_does_not_tell_experts_is_one_line(tiny: Tiny) -> None:
    with served_by(StandIn(tiny("qwen3_moe"))) as url, pytest.raises(ServerError, match="replay: policy"):
        VllmEngine(VllmServer(url), ENDS, [0, 1]).sample(REQUESTS, SAMPLING)


def test_experts_that_cannot_be_are_one_line(tiny: Tiny) -> None:
    """vLLM tells of every token that it took expert 0 where its graph was compiled before somebody looked at it."""

    class Forgets(StandIn):
        def _routed(self, drawn: Sampled) -> str | None:
            assert drawn.experts is not None
            return super()._routed(replace(drawn, experts=torch.zeros_like(drawn.experts)))

    served = Forgets(tiny("qwen3_moe"), experts=True)
    with served_by(served) as url, pytest.raises(ServerError, match="the same expert twice for one token"):
        VllmEngine(VllmServer(url), ENDS, [0, 1]).sample(REQUESTS, SAMPLING)


@pytest.mark.parametrize(("choice", "said"), [
    ({"finish_reason": "abort"}, r"cut a rollout off \(finish_reason 'abort'\)"),
    ({"token_ids": None, "logprobs": None}, "does not tell token ids and their log-probabilities"),
])
def test_what_is_no_whole_rollout_is_one_line(tiny: Tiny, choice: dict[str, Any], said: str) -> None:
    class Odd(StandIn):
        def complete(self, body: dict[str, Any]) -> dict[str, Any]:
            return {"choices": [{**super().complete(body)["choices"][0], **choice}]}

    with served_by(Odd(tiny("qwen3"))) as url, pytest.raises(ServerError, match=said):
        VllmEngine(VllmServer(url), ENDS).sample(REQUESTS, SAMPLING)


@pytest.mark.parametrize("answer", [b"<html>sign in</html>", b"[]", b'{"choices": []}'])
def test_an_answer_that_is_none_is_one_line(answer: bytes) -> None:
    with (
        serving(body(answer)) as server,
        pytest.raises(ServerError, match=r"what answers at .* is no vLLM server: [<\[{]"),
    ):
        VllmEngine(VllmServer(server.url.removesuffix("/v1")), ENDS).sample(REQUESTS, SAMPLING)


def test_what_is_no_server_of_ours_is_told() -> None:
    elsewhere = pytest.raises(ServerError, match=r"refuses elsewhere: HTTP 404 .*serve-rollouts")
    with served_by(StandIn.__new__(StandIn)) as url, elsewhere:
        VllmServer(url)._post("elsewhere", {})
    with pytest.raises(ServerError, match="does not answer collective_rpc: Connection refused"):
        VllmServer("http://127.0.0.1:9").load("x", "y")
