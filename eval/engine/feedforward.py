"""Feed-forward blocks for decoding: gated ones, and mixtures of experts for few tokens."""

from typing import Any, Protocol  # Any: modules of transformers, whose parts differ by family

import torch
from torch import Tensor

from eval.engine.experts import ExpertRecorder
from eval.engine.weights import Packed, Plain, Projection, matrix

FEW = 2
"""Where choices are at most this part of the experts, they are run one by one: most weights are then not read at
all."""

ALL = 12
"""Else, tokens up to which every expert is run on all of them: their weights are read anyway, and it is two
multiplications."""

PADDED = 256
"""Tokens up to which experts are run side by side, each on as many as the busiest has; beyond, transformers' own way is
as fast."""

LARGE = 2**19
"""Weights of an expert's first matrix from which each expert is run on its own tokens by a multiplication of its own,
which multiplies no padding, by packed weights: at 1.8 million of them (4 experts, 8 to 128 tokens) in .5 to .8 of the
time of `_padded`; at 440,000 no way is faster throughout, and the benchmark's 65,000 take up to 2.5 times as long."""


class FeedForward(Protocol):
    def __call__(self, residual: Tensor, normed: Tensor) -> Tensor:
        """`residual` plus the block's output for `normed`, all [n, width]."""
        ...


class Gated:
    """A gated feed-forward block (Shazeer 2020, arXiv 2002.05202): act(gate) * up, then down."""

    def __init__(self, module: Any) -> None:
        self.gate_up, self.down = Projection.of(module.gate_proj, module.up_proj), Projection.of(module.down_proj)
        self.act, self.width = module.act_fn, module.gate_proj.out_features

    def __call__(self, residual: Tensor, normed: Tensor) -> Tensor:
        every = self.gate_up(normed)  # [n, 2 * inner]
        return self.down.onto(residual, self.act(every[:, : self.width]).mul_(every[:, self.width :]))


class Experts:
    """A Mixture of Experts. The router is the model's own module; `route` is the one place where experts are chosen.

    Which way experts are run depends on the number of tokens alone, so that a run gives the same bytes on a busy
    machine; the bounds were measured on two cores at hidden size 256, with 8 to 32 experts. On other devices than CPUs
    nothing was measured, and the module's own way is taken.
    """

    def __init__(self, module: Any, router: str, recorder: ExpertRecorder | None = None) -> None:
        self.recorder = recorder
        children = dict(module.named_children())
        self.router, self.module = children[router], children["experts"]
        self.shared = Gated(children["shared_experts"]) if "shared_experts" in children else None
        self.gated = None
        if "shared_expert" in children:
            self.gated = Gated(children["shared_expert"]), Projection.of(children["shared_expert_gate"])
        self.apart: list[tuple[Packed | Plain, Packed | Plain]] = []  # of large experts, the two matrices of each
        self.here = next(self.module.parameters()).device.type == "cpu"
        if self.here:
            self._lay_out()

    def _lay_out(self) -> None:
        """Copies of the experts' weights in the order that few tokens want them in."""
        own = dict(self.module.named_parameters(recurse=False))
        transposed = bool(self.module.is_transposed)
        gate_up, down = own["gate_up_proj"], own["down_proj"]
        self.count = len(gate_up)
        if gate_up[0].numel() >= LARGE:
            # [out, in] each, as layers have them
            ups, downs = (one.transpose(1, 2) if transposed else one for one in (gate_up, down))
            names = ("gate_up_proj_bias", "down_proj_bias")
            biases = [own[name] if name in own else [None] * self.count for name in names]
            self.apart = [
                (matrix(up, of_up), matrix(back, of_back))
                for up, back, of_up, of_back in zip(ups, downs, *biases, strict=True)
            ]
            return
        # [experts, in, out], as `Projection` has it
        self.gate_up = gate_up if transposed else gate_up.transpose(1, 2).contiguous()
        self.down = down if transposed else down.transpose(1, 2).contiguous()
        self.gate_up_bias, self.down_bias = own.get("gate_up_proj_bias"), own.get("down_proj_bias")
        # One matrix of all experts, [in, experts * 2 inner], and one back, [experts * inner, out].
        self.all_up = self.gate_up.transpose(0, 1).flatten(1).contiguous()
        self.all_down = self.down.flatten(0, 1)

    def route(self, normed: Tensor) -> tuple[Tensor, Tensor]:
        """The experts chosen for every token and their weights, both [n, top_k]."""
        _logits, weights, chosen = self.router(normed)
        if self.recorder:
            self.recorder.see(chosen)
        return chosen, weights

    def __call__(self, residual: Tensor, normed: Tensor) -> Tensor:
        chosen, weights = self.route(normed)
        if self.shared is not None:
            residual = self.shared(residual, normed)
        if self.gated is not None:
            block, gate = self.gated
            # Qwen2-MoE weighs its shared expert by a gate of its own.
            residual = residual + torch.sigmoid(gate(normed)) * block(torch.zeros_like(residual), normed)
        if self.apart:
            return self._apart(residual, normed, chosen, weights)
        if not self.here or len(normed) > PADDED:
            output: Tensor = self.module(normed, chosen, weights.to(normed.dtype))
            return residual + output
        if chosen.numel() * FEW <= self.count:
            return self._few(residual, normed, chosen, weights)
        if len(normed) <= ALL:
            return self._all(residual, normed, chosen, weights)
        return self._padded(residual, normed, chosen, weights)

    def _apart(self, residual: Tensor, normed: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Each expert on its own tokens, one expert after the other."""
        tokens, top_k = chosen.shape
        experts = chosen.flatten()
        order = experts.argsort(stable=True)  # choices, those of an expert side by side
        counts = torch.bincount(experts, minlength=self.count).tolist()
        parts = torch.split(normed[order // top_k], counts)
        output = torch.cat([
            down(self.module._apply_gate(gate_up(part)))
            for (gate_up, down), part in zip(self.apart, parts, strict=True) if len(part)
        ])
        picked = torch.empty_like(output)
        picked[order] = output  # back in the order of tokens
        return torch.baddbmm(
            residual.unsqueeze(1), weights.to(normed.dtype).unsqueeze(1), picked.view(tokens, top_k, -1)
        ).squeeze(1)

    def _few(self, residual: Tensor, normed: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """One choice after the other: only the weights of what was chosen are read."""
        top_k = chosen.shape[1]
        pairs = list(enumerate(chosen.flatten().tolist()))  # (choice, expert), choices of a token side by side
        gate_up, rows = self.gate_up, normed.unsqueeze(1).unbind()
        # [n * top_k, 2 * inner]
        every = torch.cat([torch.mm(rows[place // top_k], gate_up[expert]) for place, expert in pairs])
        if self.gate_up_bias is not None:
            every = every.add_(self.gate_up_bias[chosen.flatten()])
        hidden = self.module._apply_gate(every).mul_(weights.to(normed.dtype).view(-1, 1)).unsqueeze(1).unbind()
        output = residual.clone()
        sums = output.unsqueeze(1).unbind()
        for place, expert in pairs:
            sums[place // top_k].addmm_(hidden[place], self.down[expert])
        if self.down_bias is not None:
            output.unsqueeze(1).baddbmm_(weights.to(normed.dtype).unsqueeze(1), self.down_bias[chosen])
        return output

    def _all(self, residual: Tensor, normed: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Every expert on every token, what was not chosen weighted by zero."""
        share = normed.new_zeros(len(normed), self.count).scatter_(1, chosen, weights.to(normed.dtype))  # [n, experts]
        every = torch.mm(normed, self.all_up).view(len(normed), self.count, -1)  # [n, experts, 2 * inner]
        if self.gate_up_bias is not None:
            every = every.add_(self.gate_up_bias)
        hidden = self.module._apply_gate(every).mul_(share.unsqueeze(-1))
        if self.down_bias is not None:
            residual = torch.addmm(residual, share, self.down_bias)
        return torch.addmm(residual, hidden.flatten(1), self.all_down)

    def _padded(self, residual: Tensor, normed: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Every expert on its own tokens, filled up to as many as the busiest has: [experts, most, width]."""
        tokens, top_k = chosen.shape
        experts = chosen.flatten().unsqueeze(1)
        # How many of the choices up to each one are of its expert: its place among that expert's rows.
        before = torch.zeros(len(experts), self.count, dtype=torch.int32, device=experts.device).scatter_(1, experts, 1)
        rank = before.cumsum(0, dtype=torch.int32).gather(1, experts).squeeze(1)
        most = int(rank.max())
        # [n * top_k]: the row of each choice in `own`
        slots = experts.squeeze(1).mul(most).add_(rank).sub_(1)
        width = normed.shape[1]
        own = normed.new_zeros(self.count * most, width)  # [experts * most, width], zero where an expert has fewer
        own.index_copy_(0, slots, normed.unsqueeze(1).expand(-1, top_k, -1).reshape(-1, width))
        every = torch.bmm(own.view(self.count, most, width), self.gate_up)
        if self.gate_up_bias is not None:
            every = every.add_(self.gate_up_bias.unsqueeze(1))
        output = torch.bmm(self.module._apply_gate(every), self.down)  # [experts, most, width]
        if self.down_bias is not None:
            output = output.add_(self.down_bias.unsqueeze(1))
        picked = output.flatten(0, 1)[slots].view(tokens, top_k, width)  # back in the order of tokens
        return torch.baddbmm(residual.unsqueeze(1), weights.to(normed.dtype).unsqueeze(1), picked).squeeze(1)
