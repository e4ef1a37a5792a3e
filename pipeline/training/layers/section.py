"""The recipe field that has layers compiled; the same in every stage that has it."""

from typing import Annotated

from pydantic import Field

from pipeline.contract.fields import NotInFingerprint

CompileSection = Annotated[bool, NotInFingerprint(of_checkpoints=True), Field(
    description="let torch.compile make one program of each layer: in fp32 on processors faster and with less memory, "
                "after a start of a minute or two, for which it needs a C++ compiler"
)]

COMPILED_IN_PARTS = ("compile: FSDP and DeepSpeed put a layer's weights together around it, and were not tried with "
                     "it: leave it out, or train under MULTI_GPU")


def require_alone(*, fp8: bool, gradient_checkpointing: bool) -> None:
    """Raises ValueError where layers that are compiled are run in another way as well."""
    if fp8:
        raise ValueError("fp8 computes products by a program of its own, which torch.compile does not see: leave it or "
                         "compile out")
    if gradient_checkpointing:
        raise ValueError("gradient_checkpointing computes layers again with the experts that they took before, which "
                         "torch.compile does not take (it keeps less of a layer by itself): leave it or compile out")
