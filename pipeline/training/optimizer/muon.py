"""Muon for weight matrices and AdamW for the rest, as one optimizer that a Trainer can hold."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from pipeline.disk.durable import JsonObject

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.95), 1e-8
MOMENTUM = 0.95


State = JsonObject
"""Of one parameter."""


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) with updates scaled to AdamW's size (Liu et al. 2025, arXiv 2502.16982, eq. 4).

    torch.optim.Muon takes two-dimensional parameters only; transformers fuses the experts of a layer into one
    [experts, out, in] tensor, whose matrices are orthogonalized here one by one.

    `rate` is the learning rate of the matrices, `adam_rate` that of embeddings, routers, norms and biases;
    `weight_decay` is that of the matrices, decoupled (equation 3).
    """

    def __init__(
        self, named: Iterable[tuple[str, nn.Parameter]], rate: float, adam_rate: float, weight_decay: float = 0.0
    ) -> None:
        self.weight_decay = weight_decay
        named = [(name, parameter) for name, parameter in named if parameter.requires_grad]
        matrices = [parameter for name, parameter in named if _is_matrix(name, parameter)]
        others = [parameter for name, parameter in named if not _is_matrix(name, parameter)]
        groups = [{"params": matrices, "lr": rate, "muon": True}, {"params": others, "lr": adam_rate, "muon": False}]
        super().__init__([group for group in groups if group["params"]], {"lr": rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._muon if group["muon"] else self._adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    if group["muon"] and self.weight_decay:
                        parameter.mul_(1 - group["lr"] * self.weight_decay)
                    update(parameter, group["lr"], self.state[parameter])
        return loss

    @staticmethod
    def _muon(parameter: Tensor, rate: float, state: State) -> None:
        assert parameter.grad is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
        # Nesterov's momentum: a step ahead of the running mean.
        update = orthogonalize(parameter.grad.lerp(momentum, MOMENTUM))
        # 0.2 sqrt(max(rows, columns)) gives an update the size that AdamW's have (equation 4).
        parameter.add_(update, alpha=-rate * 0.2 * max(parameter.shape[-2:]) ** 0.5)

    @staticmethod
    def _adam(parameter: Tensor, rate: float, state: State) -> None:
        assert parameter.grad is not None
        if not state:
            state.update(step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        state["step"] += 1
        first, second = ADAM_BETAS
        mean = state["mean"].lerp_(parameter.grad, 1 - first)
        square = state["square"].mul_(second).addcmul_(parameter.grad, parameter.grad, value=1 - second)
        scale = (square / (1 - second ** state["step"])).sqrt_().add_(ADAM_EPSILON)
        parameter.addcdiv_(mean, scale, value=-rate / (1 - first ** state["step"]))


def _is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon is for this parameter: matrices (fused ones too), but no embeddings, heads, routers, adapters'
    halves, biases (gpt-oss has those of all experts in one table) or numbers of a state space; nor what DBRX has, whose
    experts lie below each other in one matrix."""
    return parameter.ndim >= 2 and not name.endswith("bias") and not any(part in name for part in _NO_MATRICES)


_NO_MATRICES = (
    "embed", "wte", "wpe", "lm_head", ".gate.weight", "router", ".lora_", "A_log", "conv1d", ".experts.mlp."
)
"""Parts of names."""


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrix with singular values around 1, for [rows, columns] or [matrices, rows, columns], by
    Newton-Schulz iteration."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[-2] > matrix.shape[-1]
    # The products are of the smaller side, whichever it is.
    if tall:
        matrix = matrix.mT
    # The iteration converges for singular values up to 1, which the Frobenius norm makes sure of.
    matrix = (matrix / (matrix.norm(dim=(-2, -1), keepdim=True) + 1e-7)).contiguous()
    add = torch.baddbmm if matrix.dim() == 3 else torch.addmm  # sum and product in one pass
    for _ in range(steps):
        gram = matrix @ matrix.mT
        matrix = add(matrix, add(gram, gram, gram, beta=b, alpha=c), matrix, beta=a)
    return matrix.mT if tall else matrix
