"""Which drafter a stage's engine has."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from eval.engine.types import Engine
from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from rewards.lazy import lazy

with lazy:
    from eval.engine.native import NativeEngine
    from eval.engine.speculation.lookup import Lookup
    from eval.engine.speculation.mtp import MtpDrafter
    from pipeline.models.mtp import module

if TYPE_CHECKING:
    from eval.engine.decoder import Decoder
    from eval.engine.speculation.draft import Drafter
    from eval.engine.types import Sampling

Speculate = Literal["off", "lookup", "mtp"]

MOST = {"lookup": 4, "mtp": 2}
"""Tokens drafted at once; see benchmarks/speculation/README.md."""

NO_MODULE = ("speculate: mtp drafts with a module that is trained beside the model, and this model has none: train one "
             "with mtp: {} in pretrain, sft or grpo, or take speculate: lookup")


def drafter_of(model: LanguageModel, speculate: Speculate) -> "Callable[[Decoder, Sampling], Drafter] | None":
    """What drafts for an engine of this model. Raises StageError where the model has no MTP module and is to have
    one."""
    if speculate == "off":
        return None
    if speculate == "lookup":
        return lambda _decoder, _sampling: Lookup(MOST["lookup"])
    own = module.of(model)
    if own is None:
        raise StageError(NO_MODULE)
    config = model.config
    return lambda decoder, sampling: MtpDrafter(own.to(decoder.device), config, MOST["mtp"], decoder, sampling)


def told(engine: Engine) -> str:
    """What has come of an engine's drafts so far, in a line; nothing where it had none."""
    if not isinstance(engine, NativeEngine) or not engine.tally.read:
        return ""
    depths = ", ".join(f"{share:.2f}" for share in engine.tally.acceptance().values())
    return (f"speculation: {engine.tally.written / engine.tally.read:.2f} tokens a forward of a row; of the drafts at "
            f"depth 1, 2, .. that were verified stood {depths or 'none'}")
