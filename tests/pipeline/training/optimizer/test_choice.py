"""Which optimizer a training takes, and that each moves weights as it should."""

import copy
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError

from pipeline.models.lora import Lora, add
from pipeline.models.origin import from_scratch
from pipeline.training.learning import Learning, Optimizer, OptimizerName
from pipeline.training.optimizer.choice import choose, make
from pipeline.training.optimizer.master_weights import MasterWeights
from pipeline.training.optimizer.muon import Muon

Tiny = Callable[..., Any]


def given(model: Any) -> Any:
    """The model as if somebody else had pretrained it."""
    del model.config.retort_from_scratch
    assert not from_scratch(model)
    return model


@pytest.mark.parametrize(("wanted", "adapters", "supervised", "reinforced"), [
    ({}, False, "adamw at 2e-05", "adamw at 1e-06"),
    ({}, True, "adamw at 0.0002", "adamw at 1e-05"),
    ({"learning_rate": 3e-4}, True, "adamw at 0.0003", "adamw at 0.0003"),
    ({"adam_learning_rate": 1e-4}, False, "muon at 2e-05, and adamw at 0.0001 for what is no matrix",
     "muon at 1e-06, and adamw at 0.0001 for what is no matrix"),
    ({"optimizer": {"name": "adafactor"}}, False, "adafactor at 2e-05", "adafactor at 1e-06"),
])
def test_a_model_that_was_given_is_fine_tuned(
    tiny: Tiny, wanted: dict[str, Any], adapters: bool, supervised: str, reinforced: str
) -> None:
    model = given(tiny("qwen3"))
    if adapters:
        add(model, Lora(rank=2), 0)
    learning = Learning.model_validate(wanted)
    assert str(choose(model, learning, "supervised")) == supervised
    assert str(choose(model, learning, "reinforcement")) == reinforced


@pytest.mark.parametrize(("wanted", "supervised", "reinforced"), [
    ({}, "muon at 0.005, and adamw at 0.001 for what is no matrix", "adamw at 0.0003"),
    ({"optimizer": {"name": "sgd"}, "learning_rate": 0.1}, "sgd at 0.1", "sgd at 0.1"),
])
def test_a_model_that_was_made_here_learns_fast(
    tiny: Tiny, wanted: dict[str, Any], supervised: str, reinforced: str
) -> None:
    learning = Learning.model_validate(wanted)
    assert str(choose(tiny("qwen3"), learning, "supervised")) == supervised
    assert str(choose(tiny("qwen3"), learning, "reinforcement")) == reinforced


def test_adapters_of_a_model_that_was_made_here_learn_at_the_rate_that_is_asked_for(tiny: Tiny) -> None:
    model = tiny("qwen3_moe")
    add(model, Lora(rank=2), 0)
    assert str(choose(model, Learning(), "supervised")) == "adamw at 0.001"
    assert str(choose(model, Learning(), "reinforcement")) == "adamw at 0.0003"
    choice = choose(model, Learning(learning_rate=1e-5), "supervised")
    assert {group["lr"] for group in make(model, choice).param_groups} == {1e-5}


@pytest.mark.parametrize("name", get_args(OptimizerName))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_lowers_a_loss_and_goes_on_from_its_state(tiny: Tiny, name: str, dtype: torch.dtype) -> None:
    learning = Learning(learning_rate=0.02 if name != "sgd" else 0.2, optimizer=Optimizer(name=name))
    ids = torch.randint(4, 48, (4, 12), generator=torch.Generator().manual_seed(0))

    def steps(model: Any, optimizer: Any, count: int) -> list[float]:
        losses = []
        for _ in range(count):
            loss = model(input_ids=ids, labels=ids).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    model = tiny("qwen3").train().to(dtype)
    optimizer = make(model, choose(model, learning, "supervised"))
    assert isinstance(optimizer, MasterWeights) == (dtype == torch.bfloat16)
    losses = steps(model, optimizer, 12)
    assert losses[-1] < losses[0] - 0.1
    other = tiny("qwen3").train().to(dtype)
    other.load_state_dict(model.state_dict())
    resumed = make(other, choose(other, learning, "supervised"))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert steps(model, optimizer, 3) == steps(other, resumed, 3)


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_weights_decay_and_norms_do_not(tiny: Tiny, name: str) -> None:
    """With gradients of zero, what moves is decay."""
    model = tiny("qwen3")
    learning = Learning(learning_rate=1e-3, optimizer=Optimizer(name=name, weight_decay=0.5))
    optimizer = make(model, choose(model, learning, "supervised"))
    before = {key: value.clone() for key, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    after = dict(model.named_parameters())
    assert (after["model.layers.0.mlp.up_proj.weight"].norm() < before["model.layers.0.mlp.up_proj.weight"].norm())
    assert torch.equal(after["model.norm.weight"], before["model.norm.weight"])


def test_rates_of_a_state_space_do_not_decay(tiny: Tiny) -> None:
    model = tiny("jamba")
    choice = choose(model, Learning(optimizer=Optimizer(name="adamw", weight_decay=0.5)), "supervised")
    decayed = {id(one) for group in make(model, choice).param_groups if group["weight_decay"]
               for one in group["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == (parameter.ndim >= 2 and not name.endswith("A_log"))


def test_muon_decays_as_its_paper_says(tiny: Tiny) -> None:
    model = tiny("qwen3")
    weight = model.get_parameter("model.layers.0.mlp.up_proj.weight")
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    Muon(model.named_parameters(), 0.1, 0.1, weight_decay=0.5).step()
    assert torch.allclose(weight, before * 0.95)


@pytest.mark.parametrize(("fields", "said"), [
    ({"optimizer": {"name": "sgd", "betas": [0.9, 0.99]}}, "optimizer.betas is for adamw, nadam, radam; sgd has none"),
    ({"optimizer": {"momentum": 0.9}}, "optimizer.momentum is for sgd, rmsprop; say which optimizer by its name"),
    ({"optimizer": {"name": "adam"}}, "'adamw'"),
    ({"optimizer": {"name": "adamw"}, "adam_learning_rate": 1e-3}, "adam_learning_rate is what muon takes"),
    ({"schedule": {"warmup": 0.1, "warmup_steps": 3}}, "give one of them"),
    ({"schedule": {"shape": "cosin"}}, "'cosine'"),
    ({"learning_rate": 2}, "less than or equal to 1"),
])
def test_what_does_not_go_together_is_told_when_the_recipe_is_read(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Learning.model_validate(fields)
