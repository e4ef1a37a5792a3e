"""The loss of a module for multi-token prediction, and its optimizer, beside a model in training."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from eval.language_model import LanguageModel
from pipeline.disk.durable import JsonObject
from pipeline.models.mtp import module as modules
from pipeline.models.mtp.section import Mtp
from pipeline.training import gradients
from pipeline.training.learning import Learning
from pipeline.training.logprobs import in_slices, of_tokens
from pipeline.training.optimizer.choice import Task, choose, make
from pipeline.training.placement import own_device


class MtpLearning:
    """Trains the module of a model, a new one where it has none, by the same optimizer and rates as the model.

    Call `see` after each forward of the model, in its precision, add what `take` returns to the loss of a micro-batch
    before its backward, and call `step` once for each step of the model's optimizer. The module's gradient is clipped
    by itself.
    """

    detached = False
    """Whether nothing of the module's loss reaches the model."""
    temperature = 1.0
    """That the tokens to learn were drawn at, which divides the module's logits."""

    def __init__(
        self, model: LanguageModel, section: Mtp, learning: Learning, task: Task, rates: Callable[[int], float],
        steps: int, seed: int,
    ) -> None:
        """`rates` gives the share of the peak rate at a step, of `steps`; `seed` is of a new module's projection."""
        module = modules.begin(model, seed)
        # Trainers place the model, and nobody the module; the optimizer's copies are made of it where it is.
        module.to(own_device())
        self.module, self.model, self.section, self.steps = module, model, section, steps
        self.most_norm = learning.max_grad_norm
        self.optimizer = make(module, choose(model, learning, task))  # type: ignore[arg-type]
        self.rates = LambdaLR(self.optimizer, lambda step: rates(step))
        self.done = self._told_at = 0
        self._hidden: Tensor | None = None
        self._counting = True
        self._sum: Tensor | None = None
        self._losses: list[Tensor] = []  # of micro-batches since they were asked for, as parts of their steps' means
        self._told: float | None = None
        self._handle = model.get_decoder().register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: object, output: object) -> None:
        # Probes and rollouts run without gradients, and are no lesson.
        if torch.is_grad_enabled():
            hidden: Tensor = output.last_hidden_state  # type: ignore[attr-defined]
            self._hidden = hidden.detach() if self.detached else hidden

    def hidden(self) -> Tensor | None:
        """The last hidden states of the model's last forward with gradients, [rows, seq, width], which are given out
        once."""
        hidden, self._hidden = self._hidden, None
        return hidden

    def see(self, ids: Tensor, weights: Tensor) -> None:
        """Add the losses of ids [rows, seq], which the model has read just now, with the weight of each token after the
        first, [rows, seq - 1]."""
        hidden = self.hidden()
        if hidden is not None:
            self.learn(hidden, ids, weights)

    def learn(self, hidden: Tensor, ids: Tensor, weights: Tensor) -> None:
        """The same of hidden states [rows, seq, width] that the model has made of ids [rows, seq]; both begin at
        position 0 and are padded on the right."""
        if not self._counting or ids.shape[1] < 3:
            return
        embedding, head = self.words()
        # Position i has the token after it, and predicts the one after that.
        states = self.module(self.model, hidden[:, :-2], ids[:, 1:-1], embedding)
        learned = weights[:, 1:] != 0
        score = partial(of_tokens, temperature=self.temperature)
        [logprobs] = in_slices(self.model, states[learned], ids[:, 2:][learned], score,
                               head=lambda some: F.linear(some, head))
        loss = -(logprobs * weights[:, 1:][learned]).sum()
        self._sum = loss if self._sum is None else self._sum + loss

    def words(self) -> tuple[Tensor | None, Tensor]:
        """What tokens are looked up in, where that is not the model's embedding itself, and the head; both
        [vocabulary, width]."""
        return None, self.model.get_output_embeddings().get_parameter("weight")

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[None]:
        """While this lasts nothing is learned: a forward is made for other processes' sake."""
        self._counting = False
        try:
            yield
        finally:
            self._counting = True

    def take(self, whole: Tensor) -> Tensor:
        """What was seen since, as part of a step whose weights sum to `whole`, times the weight of now."""
        if self._sum is None:
            return torch.zeros((), device=whole.device)
        loss, self._sum = self._sum / whole.clamp(min=1.0), None
        self._losses.append(loss.detach())
        return loss * self.section.weight_at(self.done, self.steps)

    def step(self) -> None:
        """Move the module, by the gradients of all processes; all call it together."""
        gradients.average(self.module.parameters())
        nn.utils.clip_grad_norm_(self.module.parameters(), self.most_norm)
        self.optimizer.step()
        self.rates.step()
        self.optimizer.zero_grad()
        self.done += 1

    def figures(self) -> dict[str, float]:
        """The mean loss of the steps since it was told last, of all processes, which call it together."""
        if self.done > self._told_at:
            seen = torch.stack(self._losses).sum() if self._losses else torch.zeros((), device=own_device())
            self._told = float(reduce(seen, "mean")) / (self.done - self._told_at)
            self._losses, self._told_at = [], self.done
        return {} if self._told is None else {"mtp/loss": self._told}

    def state(self) -> JsonObject:
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), "done": self.done,
                "rates": {"last_epoch": self.rates.last_epoch}, "losses": self._losses, "told": self._told,
                "told_at": self._told_at}

    def restore(self, state: JsonObject) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rates.load_state_dict({**self.rates.state_dict(), **state["rates"]})
        self.done, self._losses = state["done"], [loss.to(own_device()) for loss in state["losses"]]
        self._told, self._told_at = state["told"], state["told_at"]

    def remove(self) -> None:
        self._handle.remove()
