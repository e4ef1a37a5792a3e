"""A module for multi-token prediction that learns beside a model in reinforcement, which knows nothing of it."""

from collections.abc import Callable

from torch import Tensor

from eval.language_model import LanguageModel
from pipeline.models.mtp.section import Mtp
from pipeline.models.shards import sharded, whole
from pipeline.training.learning import Learning
from pipeline.training.mtp.learning import MtpLearning


class MtpBeside(MtpLearning):
    """Trains the module on hidden states that the model has made for its own loss: nothing of the module's loss reaches
    the model, whose gradients are those that it has without a module.

    A step is `begin`, then for each micro-batch what `MtpLearning` says of forwards and `backward`, and `step`.
    """

    detached = True
    _words: tuple[Tensor, Tensor] | None = None

    def __init__(
        self, model: LanguageModel, section: Mtp, learning: Learning, rates: Callable[[int], float], steps: int,
        seed: int, temperature: float,
    ) -> None:
        """Rollouts are drawn at `temperature`. The module is to be at it what the policy is, so that drafts drawn at
        the same temperature, which divides the module's logits as well, come from the policy's distribution."""
        super().__init__(model, section, learning, "reinforcement", rates, steps, seed)
        self.temperature = temperature

    def begin(self) -> None:
        """Have the embedding and the head of this step, which may lie in parts; all processes call it together."""
        embedding, head = (one.get_parameter("weight")
                           for one in (self.model.get_input_embeddings(), self.model.get_output_embeddings()))
        found = self._whole(embedding)
        self._words = found, found if head is embedding else self._whole(head)

    def _whole(self, weight: Tensor) -> Tensor:
        found = whole(weight).detach()
        # What FSDP2 has put together for a forward, it takes back behind the next one.
        return found.clone() if sharded(self.model) else found

    def words(self) -> tuple[Tensor | None, Tensor]:
        assert self._words is not None, "begin the step first"
        return self._words

    def backward(self, whole: Tensor) -> None:
        """The gradients of what was seen since, as part of a step whose weights sum to `whole`."""
        seen = self.take(whole)
        if seen.requires_grad:
            seen.backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        self._words = None
        super().step()
