"""`upcycle`: a Mixture of Experts made of a dense model, which begins with the dense model's logits."""

from typing import ClassVar

from pydantic import Field, model_validator

from pipeline.contract.errors import StageError
from pipeline.contract.fields import ArtifactType, ModelInput
from pipeline.contract.numbers import Dtype
from pipeline.contract.stage import Context, Known, Metrics, Stage
from pipeline.contract.work import Work
from pipeline.disk.durable import JsonObject
from rewards.lazy import lazy

with lazy:
    import torch

    from pipeline.models import pretrained
    from pipeline.models.mtp import module
    from pipeline.models.upcycling import Form, config_of_mixture, largest_difference, upcycled

CLOSE, STEPS = 1e-4, 6.4
"""How far the logits of dense model and mixture may lie apart, in shares of the largest, since their sums are rounded
in another order: so much in fp32, in half precision so many steps between two numbers beside 1 (.05 in bfloat16).
SmolLM2's differ by 1e-5 of it in fp32."""
SEQUENCES, LENGTH = 4, 64
"""Random tokens that both models are held against each other with."""


class Upcycle(Stage):
    """Make a Mixture of Experts of a dense model (Komatsuzaki et al. 2022, arXiv 2212.05055): its experts are copies of
    the feed-forward block, and its routers are new.

    Nothing is trained: the stages that follow train it, and balance it as the family does. A Llama or Mistral becomes a
    Mixtral, a Qwen3 a Qwen3-MoE; with `shared` a Llama or Qwen2 becomes a Qwen2-MoE.
    """

    kind: ClassVar[str] = "upcycle"
    makes: ClassVar[ArtifactType] = "model"

    model: ModelInput = Field(description="the dense model that the experts are copied from")
    experts: int = Field(default=8, ge=2, le=1024, description="experts of a layer")
    top_k: int = Field(default=2, ge=1, le=1024, description="experts that a token takes")
    segments: int = Field(
        default=1, ge=1, le=64, description="narrower experts that a copy of the feed-forward block is cut into"
    )
    shared: float = Field(
        default=0.0, ge=0, lt=1, allow_inf_nan=False,
        description="share of the block's neurons that every token uses, rounded so that the width of experts is one "
                    "that torch multiplies"
    )
    dtype: Dtype | None = Field(default=None, description="what the weights are in; as saved where it is left out")

    @model_validator(mode="after")
    def _check_form(self) -> "Upcycle":
        if self.top_k > self.experts:
            raise ValueError(f"a token cannot take {self.top_k} of {self.experts} experts; lower top_k")
        for name, number in (("experts", self.experts), ("top_k", self.top_k)):
            if number % self.segments:
                raise ValueError(f"{name} is {number}, which is no multiple of segments ({self.segments}): a token "
                                 "takes all segments of a copy")
        return self

    def made_of(self) -> str:
        return self.model

    def config_of_made(self, config: JsonObject) -> JsonObject:
        precision = self.dtype or config.get("dtype")
        return {**config_of_mixture({**config, "dtype": precision}, self._form()), "dtype": precision}

    def check_inputs(self, known: Known) -> None:
        config = known.config(self.model)
        if config is not None:
            # Of a config that does not say so, with the precision in which experts may have the most widths.
            self.config_of_made({**config, "dtype": config.get("dtype") or "float32"})

    def work(self) -> Work:
        # The mixture's weights are drawn, and held once more as what they are replaced by.
        return Work(loaded=[self.model], made=2)

    def _form(self) -> "Form":
        return Form(self.experts, self.top_k, self.segments, self.shared)

    def run(self, ctx: Context) -> Metrics:
        dense, tokenizer = pretrained.take(ctx, self.model, self.dtype)
        if module.of(dense):
            ctx.note("the model's MTP module is of a dense layer, and is left out of the mixture")
        mixture = upcycled(dense, self._form(), ctx.seed)
        ids = torch.randint(len(tokenizer), (SEQUENCES, LENGTH), generator=torch.Generator().manual_seed(ctx.seed))
        difference, largest = largest_difference(dense, mixture, ids)
        close = max(CLOSE, STEPS * torch.finfo(dense.dtype).eps)
        if not difference <= largest * close:  # also where it is NaN
            raise StageError(f"the mixture's logits differ from those of {ctx.label(self.model)} by {difference:.3g}, "
                             "so it does not compute what the dense model does")
        pretrained.save(mixture, tokenizer, ctx.out)
        return {
            "parameters": pretrained.parameters(mixture),
            "parameters_of_dense": pretrained.parameters(dense),
            "largest_difference_of_logits": difference,
        }
