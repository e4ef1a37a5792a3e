"""What would make a stage fit on a device, tried in the order in which it costs least."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.contract.errors import StageError
from pipeline.costs import memory
from pipeline.costs.estimate import Estimate
from pipeline.costs.memory import FULL, Memory, Setting, Training
from pipeline.costs.sharing import Sharing
from pipeline.models.lora import Lora

RANK = 16
MOST_DEVICES = 64
LESSENINGS, LESS = 4, 4
"""How often parts are made smaller, at most, before something else is tried, and to which part of what they were."""
APART = ("loading", "reading")
"""Phases in which nothing trains yet, so that no change of the training makes them smaller."""


@dataclass(frozen=True)
class Remedy:
    """A change, and what a process would hold with it and those before it."""

    change: str
    memory: Memory
    fits: bool


def remedies(estimate: Estimate) -> list[Remedy]:
    """Changes that add up, until the stage's trainings fit; adapters are tried by themselves, without those that divide
    the model. Empty where the stage trains nothing, or does not fit before it trains."""
    found: list[Remedy] = []
    for remedy in _tried(estimate):
        found.append(remedy)
        if remedy.fits:
            break
    return found


def _tried(estimate: Estimate) -> Iterator[Remedy]:
    before = (found.peak for phase, found in estimate.phases.items() if phase in APART)
    if not estimate.trainings or max(before, default=0) > estimate.setting.device.memory:
        return
    # Of several trainings of a stage the one with the longest rows takes most.
    training, setting = max(estimate.trainings, key=lambda one: one.length), estimate.setting
    try:
        for tokens in _lessened(training, setting):
            training = training.with_learning(micro_batch_tokens=tokens)
            yield _remedy(f"micro_batch_tokens: {tokens}", training, setting)
        if not training.learning.gradient_checkpointing:
            training = training.with_learning(gradient_checkpointing=True)
            yield _remedy("gradient_checkpointing: true", training, setting)
        trained = training.trained
        # As recipes with these are refused (`run/before/parts.py`, and the stages themselves).
        if not setting.device.processor and trained.mtp != "with" and not trained.fp8:
            yield from _divided(training, setting)
        if training.adapters is None and not trained.mtp and not trained.fp8:
            trained = replace(training.trained, adapters=Lora(rank=RANK).model_dump())
            yield _remedy(f"lora: {{rank: {RANK}}}, in one process", replace(training, trained=trained),
                          replace(setting, sharing=Sharing()))
    except StageError:  # what cannot be gone through so is no remedy
        return


def _lessened(training: Training, setting: Setting) -> Iterator[int]:
    """Ever fewer tokens of a part, down to one row."""
    row = round(training.length)
    tokens = memory.lesson_of(training, setting).rows * row
    for _ in range(LESSENINGS):
        if tokens <= row:
            return
        tokens = max(row, tokens // LESS)
        yield tokens


def _divided(training: Training, setting: Setting) -> Iterator[Remedy]:
    """By FSDP, over twice as many devices each time; weights have to be in full precision then."""
    said = ""
    if training.shape.dtype != FULL:
        training, said = training.in_full_precision(), f", and dtype: {FULL}"
    devices = 2 * setting.sharing.weights
    while devices <= MOST_DEVICES:
        yield _remedy(f"FSDP2 over {devices} devices{said}", training,
                      replace(setting, sharing=Sharing("FSDP2", devices)))
        devices *= 2


def _remedy(change: str, training: Training, setting: Setting) -> Remedy:
    found = memory.of_training(training, setting)
    return Remedy(change, found, found.peak <= setting.device.memory)
