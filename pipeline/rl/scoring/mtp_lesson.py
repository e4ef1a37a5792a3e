"""What a module for multi-token prediction learns of rollouts: the tokens that the policy drew, from the hidden states
that its forwards have made of them anyway."""

import torch
from torch import Tensor

from pipeline.rl.batch import Batch
from pipeline.rl.scoring.forwards import Forwards, SharedPrompts
from pipeline.training.mtp.beside import MtpBeside


class MtpLesson:
    """Of one minibatch, whose `forwards` were made just now."""

    def __init__(self, mtp: MtpBeside, forwards: Forwards) -> None:
        self.mtp = mtp
        self.prompt_of = forwards.prompt_of if isinstance(forwards, SharedPrompts) else None
        # Prompts that are read by themselves have been read, and their completions come later, part by part.
        self.prompts = mtp.hidden() if self.prompt_of is not None else None  # [prompts, prompt, width]

    def see(self, rows: Tensor, part: Batch) -> None:
        """Learn from the forward that was just made of `part`, which is the minibatch's rows at `rows`."""
        hidden = self.mtp.hidden()  # [part, prompt + seq, width], or of completions alone
        if hidden is None:
            return
        if self.prompts is not None and self.prompt_of is not None:
            width = part.prompt_ids.shape[1]
            prompts = self.prompts[self.prompt_of[rows], self.prompts.shape[1] - width :]
            hidden = torch.cat([prompts, hidden], dim=1)
        weights = torch.cat([torch.zeros_like(part.prompt_mask), part.drawn_mask], dim=1)
        # Prompts are padded on the left, and the module counts positions from a row's first token.
        begin = part.prompt_ids.shape[1] - part.prompt_mask.sum(dim=1, keepdim=True)  # [part, 1]
        places = torch.arange(weights.shape[1], device=weights.device) + begin
        beyond = places >= weights.shape[1]
        places = places.masked_fill(beyond, 0)
        moved = hidden.gather(1, places.unsqueeze(-1).expand_as(hidden))
        learned = weights.gather(1, places).masked_fill(beyond, 0)
        self.mtp.learn(moved, part.ids.gather(1, places), learned[:, 1:].to(torch.float32))
