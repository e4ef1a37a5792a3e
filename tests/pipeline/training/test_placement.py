"""Which device a process draws on, and what it gives back."""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.contract.errors import StageError
from pipeline.training import placement
from pipeline.training.placement import own_device, placed, require_one_gpu


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


def test_one_process_does_not_take_several_gpus(two_gpus: pytest.MonkeyPatch) -> None:
    two_gpus.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(StageError, match="one process sees 2 GPUs; start it with an accelerate config, or show it one"):
        require_one_gpu()
    with two_gpus.context() as launched:
        launched.setenv("LOCAL_RANK", "1")
        require_one_gpu()
    with two_gpus.context() as here:
        here.setenv("ACCELERATE_USE_CPU", "true")
        require_one_gpu()
    two_gpus.setattr(torch.cuda, "device_count", lambda: 1)
    require_one_gpu()


class Moved:
    """A model that says where it was sent."""

    def __init__(self) -> None:
        self.device, self.places = torch.device("cpu"), list[str]()

    def to(self, device: torch.device) -> "Moved":
        self.device = device
        self.places.append(str(device))
        return self


@pytest.mark.usefixtures("two_gpus")
def test_a_model_goes_back_to_where_it_was() -> None:
    model: Any = Moved()
    with placed(model) as there:
        assert there is model
        assert model.places == ["cuda:0"]
    assert model.places == ["cuda:0", "cpu"]
    with pytest.raises(ZeroDivisionError), placed(model):
        raise ZeroDivisionError
    assert model.places[2:] == ["cuda:0", "cpu"]


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another heap")
def test_memory_between_what_is_still_held_is_given_back_by_large_models(
    tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("qwen3")
    pieces = [torch.zeros(2**14) for _ in range(2000)]  # 125 MiB, each too small for a mapping of its own
    kept = pieces[::100]
    pieces.clear()
    before = resident()
    placement.give_back(model)
    assert before - resident() < 10 * 2**20, "it is not worth it"
    monkeypatch.setattr(placement, "LARGE", 1)
    placement.give_back(model)
    assert before - resident() > 60 * 2**20
    assert all(int(one.sum()) == 0 for one in kept)
