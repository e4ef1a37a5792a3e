"""Which device a process draws on."""

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
