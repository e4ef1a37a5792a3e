"""The engine for families without a fast path: transformers' own forward and cache, one batch at a time."""

import contextlib
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from eval.engine.experts import ExpertRecorder
from eval.engine.sampling import draw, require_numbers, uniforms
from eval.engine.stopping import Stopping
from eval.engine.types import Request, Sampled, Sampling, Written
from eval.language_model import LanguageModel

ROWS = 64
UNPADDED = frozenset({"minimax"})
"""Families of which a batch has prompts of one length: behind a prompt that was padded, transformers 5.23 computes all
tokens but the first wrongly, in its own `generate`, too."""


class PlainEngine:
    """Samples from any transformers causal language model. Rows are padded on the left; the batch ends with its
    longest row. Raises ValueError where texts may stop a rollout and `decode` is None."""

    def __init__(
        self, model: LanguageModel, ends: Collection[int], pad: int | None,
        decode: Callable[[list[int]], str] | None = None, experts: Sequence[nn.Module] = (),
    ) -> None:
        self.model, self.ends, self.decode = model, frozenset(ends), decode
        self.pad = min(ends, default=0) if pad is None else pad  # masked, whatever it is
        self.recorder = ExpertRecorder() if experts else None
        self.experts = experts

    def sample(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Callable[[int, int], None] | None = None,
        written: Written | None = None,
    ) -> list[list[Sampled]]:
        rows = [(list(request.prompt), seed, request.most(sampling)) for request in requests for seed in request.seeds]
        places = [(place, index) for place, request in enumerate(requests) for index in range(len(request.seeds))]
        sampled: dict[int, Sampled] = {}
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), contextlib.ExitStack() as stack:
                if self.recorder:
                    stack.enter_context(self.recorder.watching(self.experts))
                for batch in self._batches([len(prompt) for prompt, *_ in rows]):
                    for number, one in zip(batch, self._batch([rows[n] for n in batch], sampling), strict=True):
                        sampled[number] = one
                        if written:
                            written(*places[number], one)
                    if progress:
                        progress(len(sampled), len(rows))
        finally:
            self.model.train(training)
        ordered = iter(sampled[number] for number in range(len(rows)))
        return [[next(ordered) for _ in request.seeds] for request in requests]

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Which rows, by the lengths of their prompts, are drawn together."""
        alike: dict[int, list[int]] = {}
        for number, length in enumerate(lengths):
            alike.setdefault(length if self.model.config.model_type in UNPADDED else 0, []).append(number)
        return [some[start : start + ROWS] for some in alike.values() for start in range(0, len(some), ROWS)]

    def _batch(self, rows: list[tuple[list[int], int, int]], sampling: Sampling) -> list[Sampled]:
        """Of rows with a prompt, a seed and a number of tokens that they may have."""
        device = self.model.device
        longest, most = max(len(prompt) for prompt, *_ in rows), max(tokens for *_, tokens in rows)
        # [rows, seq], then [rows, 1]; `mask` grows by a column a token
        ids = torch.tensor([[self.pad] * (longest - len(p)) + p for p, *_ in rows], device=device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p, *_ in rows], device=device)
        # [rows, most tokens], of each row its own stream
        numbers = torch.stack([torch.from_numpy(uniforms(seed, most)) for _, seed, _ in rows]).to(device)
        drawn: list[Sampled] = [Sampled([], [], False) for _ in rows]
        ended = [False] * len(rows)  # by themselves
        done = [False] * len(rows)
        stopping = Stopping(sampling.stop, self.decode) if sampling.stop else None
        experts: list[Tensor] = []
        cache = None
        # Padding stands on the left, and positions count from the first token of each prompt.
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        # Logits of a long prompt's every token would be gigabytes, of which a row's last ones are used.
        kept = {"logits_to_keep": 1} if self.model._supports_logits_to_keep() else {}
        for step in range(most):
            output = self.model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
                **kept
            )
            cache = output.past_key_values
            if self.recorder:
                experts.append(self.recorder.take(*ids.shape))
            tokens, logprobs = draw(
                output.logits[:, -1], sampling.temperature, numbers[:, step], sampling.top_p, sampling.top_k,
                sampling.min_p
            )
            values = logprobs.tolist()
            require_numbers([value for value, over in zip(values, done, strict=True) if not over], self.model)
            for place, (token, value) in enumerate(zip(tokens.tolist(), values, strict=True)):
                if not done[place]:
                    drawn[place].ids.append(token)
                    drawn[place].logprobs.append(value)
                    ended[place] = token in self.ends or (stopping is not None and stopping.ends(drawn[place].ids))
                    done[place] = ended[place] or step + 1 == rows[place][2]
            if all(done):  # rows that are done are run along until then, and what they draw is not kept
                break
            ids = tokens.unsqueeze(-1)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            # Of rows that are done they stand still: learned positions have an end.
            positions = positions[:, -1:] + torch.tensor([[not one] for one in done], device=device)
        taken = [_taken(experts, place, longest - len(prompt)) for place, (prompt, *_) in enumerate(rows)]
        return [
            # The last token was drawn and never read, so it took no experts.
            Sampled(s.ids, s.logprobs, finished, None if tokens is None else tokens[: len(prompt) + len(s.ids) - 1])
            for s, finished, tokens, (prompt, *_) in zip(drawn, ended, taken, rows, strict=True)
        ]


def _taken(experts: Sequence[Tensor], place: int, padding: int) -> Tensor | None:
    """The experts of one row's tokens [tokens, layers, top_k], of what each forward recorded [rows, seq, layers,
    top_k]."""
    return torch.cat([part[place] for part in experts])[padding:].cpu() if experts else None
