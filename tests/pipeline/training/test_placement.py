"""Which device a process draws on."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.training.placement import own_device, placed


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine that says it has two; nothing is put on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return monkeypatch


@pytest.mark.parametrize(("rank", "number"), [(None, 0), ("0", 0), ("1", 1), ("3", 1)])
def test_a_process_has_the_gpu_of_its_number(two_gpus: pytest.MonkeyPatch, rank: str | None, number: int) -> None:
    if rank is not None:
        two_gpus.setenv("LOCAL_RANK", rank)
    assert own_device() == torch.device("cuda", number)


def test_the_accelerate_config_may_say_otherwise(two_gpus: pytest.MonkeyPatch) -> None:
    two_gpus.setenv("ACCELERATE_USE_CPU", "true")
    assert own_device() == torch.device("cpu")


def test_a_model_goes_back_to_where_it_was(tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("qwen3")
    monkeypatch.setattr("pipeline.training.placement.own_device", lambda: torch.device("cpu"))
    with placed(model) as there:
        assert there is model
    assert model.device == torch.device("cpu")
    if not torch.cuda.is_available():
        assert own_device() == torch.device("cpu")
