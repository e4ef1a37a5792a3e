"""The rollout engine that draws with a vLLM server."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any  # requests and answers are JSON

from eval.engine.types import Request, Sampled, Sampling, Written
from eval.errors import ServerError
from eval.vllm.server import MODEL, VllmServer
from rewards.lazy import lazy

with lazy:
    import numpy as np
    import torch

BYTES_BESIDE, BYTES_A_TOKEN = 2**20, 2**12
"""What an answer takes at most: its frame, and text, id, log-probability and experts of each token."""

ENDED = ("stop", "length")
"""How a rollout ends: by a token that ends it or a text, or where it has as many tokens as it may have."""


class VllmEngine:
    """Draws from the model that `server` has. Token ids go there and come back; no text is tokenized again.

    ends     token ids that end a rollout, and are its last
    layers   numbers of the MoE layers whose experts each rollout is to have; the server must have been started so

    Each rollout has the seed of its request. A batch of vLLM's is made of what is waiting at the moment, and the last
    bits of a sum depend on it: equal seeds give nearly always equal rollouts, but not for certain.
    """

    def __init__(self, server: VllmServer, ends: frozenset[int], layers: Sequence[int] = ()) -> None:
        self.server, self.ends, self.layers = server, ends, list(layers)

    def sample(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        written: Written | None = None,
    ) -> list[list[Sampled]]:
        """As `Engine` has it. Raises ServerError."""
        places = [(place, index) for place, one in enumerate(requests) for index in range(len(one.seeds))]
        found: dict[tuple[int, int], Sampled] = {}

        def done(number: int, choice: dict[str, Any]) -> None:
            place, index = places[number]
            found[place, index] = one = self._sampled(choice, len(requests[place].prompt))
            if written:
                written(place, index, one)
            if progress:
                progress(len(found), len(places))

        bodies = [self._body(requests[place], index, sampling) for place, index in places]
        longest = max((len(one.prompt) + one.most(sampling) for one in requests), default=0)
        self.server.complete(bodies, BYTES_BESIDE + BYTES_A_TOKEN * longest, done)
        return [[found[place, index] for index in range(len(one.seeds))] for place, one in enumerate(requests)]

    def _body(self, request: Request, index: int, sampling: Sampling) -> dict[str, Any]:
        return {
            # All of them always: what is not sent is taken from the model's generation_config.
            "model": MODEL, "prompt": list(request.prompt), "max_tokens": request.most(sampling),
            "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k,
            "min_p": sampling.min_p, "repetition_penalty": 1.0,
            "seed": request.seeds[index] % 2**63,  # which is signed there
            "stop_token_ids": sorted(self.ends), "stop": list(sampling.stop), "include_stop_str_in_output": True,
            "skip_special_tokens": False, "logprobs": 0, "return_token_ids": True,
        }

    def _sampled(self, choice: dict[str, Any], prompt: int) -> Sampled:
        """The answer as a rollout; its prompt has so many tokens. Raises ServerError where something is missing."""
        try:
            ids, values, reason = choice["token_ids"], choice["logprobs"]["token_logprobs"], choice["finish_reason"]
        except (LookupError, TypeError) as error:
            raise ServerError(f"the server at {self.server.url} does not tell token ids and their log-probabilities, "
                              "as vLLM does where it is started with retort serve-rollouts") from error
        if len(ids) != len(values):
            raise ServerError(f"vLLM answers with {len(ids)} tokens and {len(values)} log-probabilities")
        if reason not in ENDED:
            raise ServerError(f"vLLM has cut a rollout off (finish_reason {reason!r}): was it paused, or ended?")
        experts = self._experts(choice.get("routed_experts"), prompt + len(ids) - 1) if self.layers else None
        return Sampled(list(ids), list(values), reason == "stop", experts)

    def _experts(self, sent: str | None, tokens: int) -> "torch.Tensor":
        """[tokens, MoE layers, top_k], from an array of all layers as numpy writes it, in base64."""
        if sent is None:
            raise ServerError("the vLLM server does not tell which experts were taken (it does so on GPUs, where it is "
                              "started with --enable-return-routed-experts): replay: policy")
        every = np.load(io.BytesIO(base64.b64decode(sent)), allow_pickle=False)  # [tokens, layers, top_k]
        if len(every) != tokens:
            raise ServerError(f"vLLM tells the experts of {len(every)} tokens, where {tokens} were read")
        experts = torch.from_numpy(every[:, self.layers].astype(np.int16))
        if bool((experts.sort(dim=-1).values.diff(dim=-1) == 0).any()):
            raise ServerError("vLLM tells the same expert twice for one token, so that it does not know which were "
                              "taken: replay: policy")
        return experts
