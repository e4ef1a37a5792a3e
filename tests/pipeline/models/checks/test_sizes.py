import pytest

from pipeline.models.checks.sizes import balance_fault
from pipeline.moe.balancing import Balancing
from tests.conftest import TINY


@pytest.mark.parametrize(("name", "balancing", "said"), [
    ("qwen3", {"load": 0.1}, "balance.load: qwen3 models have no experts to balance"),
    ("qwen3_moe", {"bias_speed": 1e-3}, "balance.bias_speed: qwen3_moe routers have no selection bias"),
    ("deepseek_v2", {"bias_speed": 1e-3}, "balance.bias_speed: deepseek_v2 routers have no selection bias"),
    ("deepseek_v3", {"device": 0.1, "devices": 3}, "balance.devices: 4 experts do not split over 3 devices"),
])
def test_a_balance_that_cannot_be_is_named(name: str, balancing: dict[str, float], said: str) -> None:
    assert (balance_fault(TINY[name], Balancing(**balancing)) or "").startswith(said)


def test_a_balance_that_can_be_is_none() -> None:
    assert balance_fault(TINY["qwen3"], Balancing()) is None
    assert balance_fault(TINY["deepseek_v3"], Balancing(bias_speed=1e-3, device=0.1, devices=2)) is None
    assert balance_fault(TINY["qwen3_moe"], Balancing(load=0.1, bias_speed=0)) is None


def test_where_every_token_takes_all_experts_there_is_no_load() -> None:
    every = {**TINY["qwen3_moe"], "num_experts_per_tok": 4}
    assert (balance_fault(every, Balancing(load=0.1)) or "").startswith("balance.load: every token takes all 4 experts")
    assert balance_fault(every, Balancing(z=0.1)) is None
