"""A model that learns in eight bits, what its rounding by chance depends on, and where it is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.contract.errors import StageError
from pipeline.training.fp8.learning import EightBits
from pipeline.training.fp8.section import Accumulation, Fp8

Tiny = Callable[..., Any]
IDS = torch.randint(4, 48, (4, 24), generator=torch.Generator().manual_seed(0))


def losses(model: Any, steps: int, probes: int = 0) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    found = []
    for _ in range(steps):
        for _ in range(probes):
            with torch.no_grad():
                model(input_ids=IDS)
        loss = model(input_ids=IDS, labels=IDS, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss))
    return found


def test_a_model_learns_and_is_what_it_was_after(tiny: Tiny) -> None:
    def learned(section: Fp8 | None) -> list[float]:
        model = tiny("deepseek_v3", initializer_range=0.1).train()
        eight = EightBits(model, section, 0) if section else None
        found = losses(model, 12)
        if eight:
            eight.remove()
        assert not any("forward" in vars(one) for one in model.modules())
        return found

    exact = learned(None)
    assert exact[-1] < 0.9 * exact[0]
    for found in map(learned, (Fp8(), Fp8(backward="e5m2", stochastic_rounding=True))):
        assert found != exact
        assert found[-1] == pytest.approx(exact[-1], abs=0.03 * exact[0])  # four rows by heart


def test_rounding_by_chance_depends_on_the_seed_and_no_probe_moves_it(tiny: Tiny) -> None:
    def learned(seed: int, probes: int = 0) -> list[float]:
        model = tiny("deepseek_v3").train()
        EightBits(model, Fp8(stochastic_rounding=True), seed)
        return losses(model, 2, probes)

    assert learned(0) == learned(0, probes=2)
    assert learned(0) != learned(1)


def test_its_stream_goes_on_from_a_state(tiny: Tiny) -> None:
    model = tiny("qwen3").train()
    eight = EightBits(model, Fp8(stochastic_rounding=True), 0)
    losses(model, 1)
    held = eight.state()
    expected = [torch.rand(3, generator=eight.draws), torch.rand(3, generator=eight.draws)]
    eight.restore(held)
    assert torch.equal(torch.rand(3, generator=eight.draws), expected[0])
    assert not torch.equal(*expected)
    assert EightBits(tiny("qwen3"), Fp8(), 0).state() == {}


def test_a_stream_of_another_kind_of_device_is_begun_anew(tiny: Tiny) -> None:
    """A generator of CUDA's has a state of 16 bytes, and none of a processor's takes it."""
    eight, other = (EightBits(tiny("qwen3"), Fp8(stochastic_rounding=True), 0) for _ in range(2))
    eight.restore({**eight.state(), "draws": torch.zeros(16, dtype=torch.uint8)})
    assert torch.equal(torch.rand(3, generator=eight.draws), torch.rand(3, generator=other.draws))


@pytest.mark.parametrize(("accumulation", "capability", "refused"), [
    ("scaled_mm", (8, 0), True), ("scaled_mm", (8, 9), False), ("promoted", (8, 0), False),
])
def test_a_device_that_does_not_multiply_eight_bits_is_refused(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, accumulation: Accumulation, capability: tuple[int, int], refused: bool
) -> None:
    monkeypatch.setattr("pipeline.training.fp8.learning.own_device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    section = Fp8(accumulation=accumulation)
    if not refused:
        EightBits(tiny("qwen3"), section, 0)
        return
    with pytest.raises(StageError, match="NVIDIA A100 does not multiply eight bits; set accumulation: promoted"):
        EightBits(tiny("qwen3"), section, 0)
