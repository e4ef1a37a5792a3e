"""`distill`: reasoning into a small dense student, by training it on a teacher's traces (DeepSeek-R1, section 2.4)."""

from typing import ClassVar

from pydantic import Field

from pipeline.contract.fields import ArtifactType, DatasetInput, ModelInput
from pipeline.contract.numbers import Epochs
from pipeline.contract.stage import Context, Metrics
from pipeline.contract.work import Work
from pipeline.stages.sft import Training


class Distill(Training):
    """Train a student on a teacher's filtered traces: sequence-level distillation (Kim and Rush 2016).

    Teacher and student need no common tokenizer, since the traces are text. Distillation on the teacher's probabilities
    is left out: the paper's students were trained on traces alone.
    """

    kind: ClassVar[str] = "distill"
    makes: ClassVar[ArtifactType] = "model"

    student: ModelInput = Field(description="the model to train")
    traces: DatasetInput = Field(description="what the teacher wrote: prompts with completions")
    epochs: Epochs = Field(default=4.0, description="how often each trace is seen")

    def made_of(self) -> str:
        return self.student

    def work(self) -> Work:
        return self.training(self.student, self.traces)

    def run(self, ctx: Context) -> Metrics:
        return self.train(ctx, self.student, self.traces)
