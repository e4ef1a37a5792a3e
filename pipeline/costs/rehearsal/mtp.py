"""The module for multi-token prediction in a rehearsal of training steps (`training/mtp`)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eval.language_model import LanguageModel
from pipeline.contract.work import WithModule
from pipeline.models.mtp.module import Mtp
from pipeline.training.logprobs import in_slices, of_tokens


class MtpRehearsal:
    """A module and what it makes of the forwards that have been since it was asked last."""

    def __init__(self, model: LanguageModel, how: WithModule) -> None:
        self.model, self.module, self.how = model, Mtp(model), how
        self._hidden: list[Tensor] = []
        model.get_decoder().register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: object, output: object) -> None:
        hidden: Tensor = output.last_hidden_state  # type: ignore[attr-defined]
        self._hidden.append(hidden.detach() if self.how == "beside" else hidden)

    def loss(self, rows: int, scored: int) -> Tensor:
        """Of so many rows, of which the last tokens are learned; prompts that were read once stand before each."""
        *prompts, hidden = self._hidden
        self._hidden.clear()
        if prompts:
            which = torch.zeros(rows, dtype=torch.long)
            hidden = torch.cat([prompts[0][which], hidden], dim=1)
        scored = min(scored, hidden.shape[1] - 2)
        if scored < 1:  # of so short rows a module learns nothing
            return hidden.new_zeros((), requires_grad=True)
        head: Tensor = self.model.get_output_embeddings().get_parameter("weight")
        embedding: Tensor = self.model.get_input_embeddings().get_parameter("weight")
        if self.how == "beside":
            head, embedding = head.detach(), embedding.detach()
        ids = torch.zeros(rows, hidden.shape[1] - 2, dtype=torch.long)
        states = self.module(self.model, hidden[:, :-2], ids, embedding)[:, -scored:].flatten(0, 1)
        learned = ids[:, -scored:].flatten()
        return -in_slices(self.model, states, learned, of_tokens, head=lambda some: F.linear(some, head))[0].sum()
