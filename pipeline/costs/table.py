"""A plan with money, as a person reads it."""

from collections.abc import Iterator, Sequence

from pipeline.costs.assumptions import Assumptions
from pipeline.costs.devices import GIB, Device
from pipeline.costs.estimate import Estimate
from pipeline.costs.memory import FULL, Memory
from pipeline.costs.remedies import remedies

HEADER = ("stage", "kind", "model", "tokens", "FLOPs", "weights", "gradients", "optimizer", "activations", "KV cache",
          "besides", "peak GiB", "fits", "hours", "$")


def rows(found: Sequence[Estimate], devices: int) -> Iterator[tuple[str, ...]]:
    """A line a stage, and their sum."""
    for one in found:
        yield _row(one, devices)
    known = [one for one in found if not one.said]
    total = sum((one.hours for one in known), 0.0)
    yield ("all", "", "", _large(sum(one.effort.tokens for one in known)),
           f"{sum(one.effort.flops for one in known):.1e}", *[""] * 7, "", _short(total),
           _short(sum(_money(one, devices) for one in known)))


def lines(found: Sequence[Estimate], device: Device, devices: int, used: int) -> Iterator[str]:
    """What is to be said of stages: why there are no numbers, which devices have nothing to do since only so many are
    `used`, and what would make those fit that do not."""
    for one in found:
        if one.said:
            yield f"{one.step.name}: {one.said}"
    if used < devices:
        yield (f"{devices} devices are paid for and at most {used} of them are used: `accelerate: FILE` in the recipe "
               "takes more (recipes/accelerate/)")
    if used > devices:
        yield f"hours are of the {used} devices that the recipe asks for, each like this one"
    for one in found:
        sharing = one.setting.sharing
        if sharing.collective and any(training.shape.dtype != FULL for training in one.trainings):
            yield f"{one.step.name}: under {sharing.kind} weights have to be in full precision: dtype: {FULL}"
        if not one.fits:
            yield from _unfit(one, device)


def assumptions(assumed: Assumptions, device: Device) -> Iterator[str]:
    """Each by name, with those of the device."""
    yield (f"{device.name}: {device.memory / GIB:.1f} GiB, {device.bfloat16 / 1e12:.3g} TFLOP/s in bfloat16 and "
           f"{device.float32 / 1e12:.3g} in float32, {device.bandwidth / 1e12:.3g} TB/s")
    yield ", ".join(f"{name} {value}" for name, value in assumed.lines())


def _row(one: Estimate, devices: int) -> tuple[str, ...]:
    largest = one.largest
    if one.said or one.shape is None:
        return (one.step.name, one.step.kind, *["-"] * (len(HEADER) - 2))
    # vLLM fills the memory that it is given.
    memory = ("-",) * 8 if largest is None else (*map(_gib, (
        largest.weights, largest.gradients, largest.optimizer, largest.activations, largest.cache, largest.besides,
        largest.peak
    )), "yes" if one.fits else "NO")
    return (one.step.name, one.step.kind, _large(one.shape.parameters), _large(one.effort.tokens),
            f"{one.effort.flops:.1e}", *memory, _short(one.hours), _short(_money(one, devices)))


def _money(one: Estimate, devices: int) -> float:
    return one.hours * devices * one.setting.assumed.price


def _unfit(one: Estimate, device: Device) -> Iterator[str]:
    phase, largest = max(one.phases.items(), key=lambda item: item[1].peak)
    yield f"{one.step.name}: {phase} takes {_gib(largest.peak)} GiB of {device.memory / GIB:.1f} ({_parts(largest)})"
    tried = remedies(one)
    for remedy in tried:
        yield f"  {'and ' if remedy is not tried[0] else ''}{remedy.change}: {_gib(remedy.memory.peak)} GiB, " \
              f"{'fits' if remedy.fits else 'does not fit'}"
    if not any(remedy.fits for remedy in tried):
        yield "  nothing that was tried makes it fit: take a device with more memory, or a smaller model"


def _parts(held: Memory) -> str:
    named = {"weights": held.weights, "gradients": held.gradients, "optimizer": held.optimizer,
             "activations": held.activations, "KV cache": held.cache, "besides": held.besides}
    return ", ".join(f"{name} {_gib(value)}" for name, value in named.items() if value)


def _gib(value: float) -> str:
    return _short(value / GIB)


def _large(value: float) -> str:
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:.0f}"


def _short(value: float) -> str:
    """Two digits behind the point, or as many as show something."""
    return f"{value:.2f}" if value >= 0.1 or not value else f"{value:.1g}" if value >= 0.001 else "<0.001"
