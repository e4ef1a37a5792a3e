"""The loss of the token after the next one, by hand, and what it moves."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.models.mtp import module
from pipeline.models.mtp.section import Mtp
from pipeline.training.learning import Learning
from pipeline.training.mtp.learning import MtpLearning

Tiny = Callable[..., Any]
LEARNING = Learning(learning_rate=0.02, adam_learning_rate=0.01)


def learning(model: Any) -> MtpLearning:
    return MtpLearning(model, Mtp(), LEARNING, "supervised", lambda _: 1.0, 10, seed=4)


@pytest.mark.parametrize("family", ["deepseek_v3", "mistral"])
def test_the_loss_is_what_the_paper_says(tiny: Tiny, family: str) -> None:
    model = tiny(family).train()
    taught = learning(model)
    ids = torch.tensor([[5, 9, 14, 20, 33, 8, 21, 6, 17, 11, 30, 12], [7, 7, 21, 40, 0, 0, 0, 0, 0, 0, 0, 0]])
    weights = torch.tensor([[0.0, 0.1, *[1.0] * 9], [1.0, 1.0, 0.5, *[0.0] * 8]])
    model(input_ids=ids, attention_mask=(ids != 0).long(), use_cache=False)
    taught.see(ids, weights)
    whole = torch.tensor(8.0)
    loss = taught.take(whole)
    expected = 0.0
    for row, count in ((0, 12), (1, 4)):
        hidden = model.get_decoder()(input_ids=ids[row : row + 1, :count], use_cache=False).last_hidden_state
        for place in range(count - 2):
            states = taught.module(model, hidden[:, : place + 1], ids[row : row + 1, 1 : place + 2])
            logprobs = model.get_output_embeddings()(states[0, -1]).log_softmax(-1)
            expected -= float(weights[row, place + 1] * logprobs[ids[row, place + 2]])
    assert float(loss) == pytest.approx(0.3 * expected / 8, abs=1e-4)
    loss.backward()
    assert all(one.grad is not None for one in taught.module.parameters() if one.ndim == 2)
    assert any(one.grad is not None for one in model.parameters())  # the model learns of it, too
    assert taught.figures() == {}
    taught.step()
    with taught.uncounted():
        model(input_ids=ids, use_cache=False)
        taught.see(ids, weights)
    assert not taught.take(whole).requires_grad
    taught.step()
    assert taught.figures() == {"mtp/loss": pytest.approx(expected / 16, abs=1e-4)}  # the mean of two steps


def test_its_weight_falls_late() -> None:
    section = Mtp(weight=0.3, late_weight=0.1, late=0.2)
    assert [section.weight_at(step, 10) for step in (0, 7, 8, 9)] == [0.3, 0.3, 0.1, 0.1]


def test_it_learns_what_comes_after_the_next_token(tiny: Tiny) -> None:
    """Beside a model that stays as it is: rows that count up by three."""
    model = tiny("qwen3")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    taught = learning(model)
    losses = []
    for step in range(40):
        ids = 4 + (torch.arange(8).unsqueeze(1) * 5 + step + 3 * torch.arange(10)) % 40
        model(input_ids=ids, use_cache=False)
        taught.see(ids, torch.ones(8, 9))
        taught.take(torch.tensor(72.0)).backward()
        taught.step()
        losses.append(taught.figures()["mtp/loss"])
    assert losses[-1] < losses[0] / 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert module.of(model) is taught.module
    assert not any(isinstance(one, module.Mtp) for one in nn.Module.modules(model))
