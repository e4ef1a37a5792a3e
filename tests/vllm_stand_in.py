"""A server that answers as vLLM does, on a local port, with a tiny model that the native engine draws from: for tests
of what is sent and what is made of the answers. `make vllm` runs the same against vLLM itself."""

import base64
import contextlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from eval.engine.native import NativeEngine
from eval.engine.types import Request, Sampled, Sampling
from pipeline.models.build import prepare
from pipeline.moe.routers import routers

Fault = Callable[[Any], None]


class StandIn:
    """The model that is served; `fault` is done to it whenever it is given weights."""

    def __init__(self, model: Any, experts: bool = False, fault: Fault | None = None) -> None:
        self.experts, self.fault, self.lock = experts, fault, threading.Lock()
        self.loads, self.forgotten, self.bodies = 0, 0, list[dict[str, Any]]()
        self.token = ""
        self._take(model)

    def _take(self, model: Any) -> None:
        self.model = prepare(model).eval()

    def load(self, folder: str, token: str) -> None:
        self.loads, self.token = self.loads + 1, token
        self._take(AutoModelForCausalLM.from_pretrained(Path(folder)))
        if self.fault:
            self.fault(self.model)

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock, torch.no_grad():
            self.bodies.append(body)
            users = [router.users for router in routers(self.model)] if self.experts else []
            engine = NativeEngine(self.model, set(body["stop_token_ids"]), experts=users)
            sampling = Sampling(body["max_tokens"], body["temperature"])
            [[drawn]] = engine.sample([Request(body["prompt"], [body["seed"]])], sampling)
        return {"choices": [{
            "token_ids": drawn.ids, "logprobs": {"token_logprobs": drawn.logprobs},
            "finish_reason": "stop" if drawn.finished else "length", "routed_experts": self._routed(drawn),
        }]}

    def _routed(self, drawn: Sampled) -> str | None:
        """As numpy writes it, in base64; with a row for every layer, those without experts too."""
        if drawn.experts is None:
            return None
        tokens, _, top_k = drawn.experts.shape
        every = np.zeros((tokens, self.model.config.num_hidden_layers, top_k), dtype=np.uint8)
        every[:, [router.layer for router in routers(self.model)]] = drawn.experts.numpy()
        file = io.BytesIO()
        np.save(file, every)
        return base64.b64encode(file.getvalue()).decode()


@contextlib.contextmanager
def served_by(stand_in: StandIn) -> Iterator[str]:
    """The URL under which it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer: Any = {}
            if self.path == "/v1/completions":
                answer = stand_in.complete(body)
            elif self.path == "/collective_rpc":
                if body["method"] != "retort_loaded":
                    assert body["method"] == "retort_load"
                    stand_in.load(*body["args"])
                answer = {"results": [stand_in.token, stand_in.token]}  # of two workers
            elif self.path == "/reset_prefix_cache":
                stand_in.forgotten += 1
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def swap_experts(model: Any) -> None:
    """Two experts of the first MoE layer change places: a fault of a sync that leaves everything else as it is."""
    with torch.no_grad():
        for parameter in routers(model)[0].users.parameters():
            parameter[[0, 1]] = parameter[[1, 0]].clone()
