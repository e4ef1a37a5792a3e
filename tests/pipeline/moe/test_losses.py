"""The auxiliary losses by hand: two layers would only repeat it, so one layer, four tokens, two experts, one choice."""

import math

import pytest
import torch

from pipeline.moe import losses
from pipeline.moe.gating import SIGMOID, SOFTMAX, Gating
from pipeline.moe.losses import Routed

THREE = math.log(3)  # softmax of (log 3, 0) is (3/4, 1/4)


def routed(gating: Gating = Gating(SOFTMAX, None, 1.0), sequence: tuple[int, ...] = (0, 0, 1, 1)) -> Routed:  # noqa: B008
    """Tokens 0 to 2 prefer the first expert by 3 to 1, token 3 the second; tokens 0 and 1 are one sequence."""
    logits = torch.tensor([[[THREE, 0.0], [THREE, 0.0], [THREE, 0.0], [0.0, THREE]]])
    chosen = logits.argmax(dim=-1, keepdim=True)
    return Routed(logits, chosen, gating.weights(logits[0], chosen[0]).unsqueeze(0), torch.tensor(sequence), gating)


def test_importance_is_the_squared_coefficient_of_variation() -> None:
    # importances 3 * 3/4 and 3/4: mean 3/2, variance (3/4)^2
    assert losses.importance(routed()).tolist() == pytest.approx([(0.75 / 1.5) ** 2])


def test_load_is_switchs() -> None:
    # f = (3/4, 1/4), P = (10/16, 6/16), times 2 experts
    assert losses.load(routed()).tolist() == pytest.approx([2 * (0.75 * 10 / 16 + 0.25 * 6 / 16)])
    assert routed().load().tolist() == [[3, 1]]


def test_load_of_one_choice_is_the_one_of_transformers_switch() -> None:
    from transformers.models.switch_transformers.modeling_switch_transformers import load_balancing_loss_func

    logits = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
    chosen = logits.argmax(dim=-1, keepdim=True)
    gating = Gating(SOFTMAX, None, 1.0)
    one = Routed(logits[None], chosen[None], gating.weights(logits, chosen)[None], torch.zeros(24).long(), gating)
    theirs = load_balancing_loss_func(logits.softmax(dim=-1)[None], chosen.view(1, 24))
    assert losses.load(one).tolist() == pytest.approx([float(theirs)])


def test_load_of_grok_1_by_hand() -> None:
    """Two of eight experts, weights as the softmax over all leaves them: two tokens that want two experts 4 to 1."""
    four = math.log(4)
    logits = torch.zeros(1, 2, 8)
    logits[0, 0, [0, 1]] = logits[0, 1, [0, 2]] = four  # 4/14 twice, 1/14 six times
    chosen = torch.tensor([[[0, 1], [0, 2]]])
    gating = Gating(SOFTMAX, None, 1.0)
    grok = Routed(logits, chosen, gating.weights(logits[0], chosen[0])[None], torch.zeros(2).long(), gating)
    assert grok.weights.flatten().tolist() == pytest.approx([4 / 14] * 4)
    # f = (1, 1/2, 1/2, 0 ..), P = (8/28, 5/28, 5/28, 2/28 ..), times 8 experts
    assert losses.load(grok).tolist() == pytest.approx([8 * (8 + 2.5 + 2.5) / 28])


def test_load_of_one_layer_is_transformers_own() -> None:
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    logits = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
    chosen = logits.topk(2).indices
    gating = Gating(SOFTMAX, 1.0, 1.0)
    ours = losses.load(
        Routed(
            logits[None], chosen[None], gating.weights(logits, chosen)[None], torch.zeros(24, dtype=torch.long), gating
        )
    )
    assert ours.tolist() == pytest.approx([float(load_balancing_loss_func((logits,), 4, 2))])


def test_z_is_the_mean_squared_logsumexp() -> None:
    assert losses.z(routed()).tolist() == pytest.approx([math.log(4) ** 2])  # e^(log 3) + e^0 = 4 for every token


def test_sequence_is_by_sequence() -> None:
    # the first sequence has both tokens at the first expert: f = (2, 0), P = (3/4, 1/4); the second one each: f = (1,
    # 1), P = (1/2, 1/2)
    assert losses.sequence(routed()).tolist() == pytest.approx([(2 * 0.75 + 1.0) / 2])
    # as one sequence: f = (3/2, 1/2), P = (10/16, 6/16)
    assert losses.sequence(routed(sequence=(0, 0, 0, 0))).tolist() == pytest.approx([1.5 * 10 / 16 + 0.5 * 6 / 16])


def test_sigmoid_affinities_are_divided_by_their_sum() -> None:
    # sigmoid(log 3) = 3/4, sigmoid(0) = 1/2: of their sum 3/5 and 2/5; f = (2, 0) in the first sequence, (1, 1) in the
    # second
    assert losses.sequence(routed(Gating(SIGMOID, 1.0, 2.5))).tolist() == pytest.approx([(2 * 0.6 + 1.0) / 2])


def test_device_is_over_neighbouring_experts() -> None:
    logits = torch.tensor([[[THREE, 0.0, 0.0, 0.0]]])  # probabilities 1/2, 1/6, 1/6, 1/6
    gating = Gating(SOFTMAX, None, 1.0)
    one = Routed(logits, torch.tensor([[[0, 2]]]), torch.tensor([[[0.5, 1 / 6]]]), torch.tensor([0]), gating)
    # f = 4/2 for experts 0 and 2: both devices' means are 1; the P of a device are 2/3 and 1/3
    assert losses.device(one, 2).tolist() == pytest.approx([1.0])
    one = Routed(logits, torch.tensor([[[0, 1]]]), torch.tensor([[[0.5, 1 / 6]]]), torch.tensor([0]), gating)
    assert losses.device(one, 2).tolist() == pytest.approx([2 * 2 / 3])  # all at the first device


def test_smooth_load_is_shazeers() -> None:
    """By appendix A: three tokens, three experts, one choice, noise of deviation 2."""
    logits = torch.tensor([[[4.0, 2.0, 0.0], [1.0, 2.0, 1.0], [0.0, 0.0, 6.0]]])
    gating = Gating(SOFTMAX, None, 1.0)
    chosen = logits.argmax(dim=-1, keepdim=True)
    three = Routed(logits, chosen, gating.weights(logits[0], chosen[0])[None], torch.zeros(3).long(), gating)

    def normal(x: float) -> float:
        return (1 + math.erf(x / math.sqrt(2))) / 2

    # The greatest of the others: 2, 4, 4 for the experts of the first token, then 2, 1, 2 and 6, 6, 0.
    totals = [
        normal((4 - 2) / 2) + normal((1 - 2) / 2) + normal((0 - 6) / 2),
        normal((2 - 4) / 2) + normal((2 - 1) / 2) + normal((0 - 6) / 2),
        normal((0 - 4) / 2) + normal((1 - 2) / 2) + normal((6 - 0) / 2),
    ]
    mean = sum(totals) / 3
    expected = sum((total - mean) ** 2 for total in totals) / 3 / mean**2
    assert losses.smooth_load(three, noise=2.0).tolist() == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_smooth_load_is_the_chance_to_be_chosen_with_new_noise(noise: float) -> None:
    """With two choices of five, against draws: a logit alone is moved, and whether it is then chosen is counted."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(1, 6, 5, generator=generator)
    loads = []
    for expert in range(5):
        moved = logits[0].expand(20_000, 6, 5).clone()
        moved[..., expert] += noise * torch.randn(20_000, 6, generator=generator)
        loads.append(float((moved.topk(2).indices == expert).any(-1).float().mean(dim=0).sum()))
    gating = Gating(SOFTMAX, None, 1.0)
    chosen = logits.topk(2).indices
    drawn = Routed(logits, chosen, gating.weights(logits[0], chosen[0])[None], torch.zeros(6).long(), gating)
    counted = torch.tensor(loads)
    expected = counted.var(correction=0) / counted.mean().square()
    assert losses.smooth_load(drawn, noise).tolist() == pytest.approx([float(expected)], abs=0.01)


def test_smooth_load_without_noise_is_the_load() -> None:
    assert losses.smooth_load(routed(), noise=1e-4).tolist() == pytest.approx([(1 / 2) ** 2])  # loads 3 and 1


def test_communication_counts_a_token_once_a_device() -> None:
    """By eq. 29 to 31: two devices of two experts; of two tokens one chose both experts of the first device."""
    logits = torch.tensor([[[THREE, 0.0, 0.0, 0.0], [THREE, 0.0, 0.0, 0.0]]])  # probabilities 1/2, 1/6, 1/6, 1/6
    gating = Gating(SOFTMAX, None, 1.0)
    chosen = torch.tensor([[[0, 1], [0, 2]]])
    weights = gating.weights(logits[0], chosen[0])[None]
    one = Routed(logits, chosen, weights, torch.tensor([0, 0]), gating)
    # Sent to the first device: 2 tokens, to the second: 1. f = 2 / (2 * 2) times that, P = (2/3, 1/3).
    assert losses.communication(one, devices=2, most=2).tolist() == pytest.approx([1.0 * 2 / 3 + 0.5 * 1 / 3])
    # Where tokens go to one device at most, f is twice that.
    assert losses.communication(one, devices=2, most=1).tolist() == pytest.approx([2.0 * 2 / 3 + 1.0 * 1 / 3])
    # By sequence: f = (1, 0) in the first, (1, 1) in the second.
    two = Routed(logits, chosen, weights, torch.tensor([0, 1]), gating)
    assert losses.communication(two, devices=2, most=2).tolist() == pytest.approx([(2 / 3 + 1.0) / 2])


def test_even_load_gives_what_is_said() -> None:
    logits = torch.tensor([[[THREE, 0.0], [0.0, THREE]]])
    gating = Gating(SOFTMAX, None, 1.0)
    even = Routed(
        logits, torch.tensor([[[0], [1]]]), torch.full((1, 2, 1), 0.75), torch.zeros(2, dtype=torch.long), gating
    )
    assert losses.importance(even).tolist() == [0]
    assert losses.load(even).tolist() == pytest.approx([1])
    assert losses.sequence(even).tolist() == pytest.approx([1])
    assert losses.communication(even, devices=2, most=1).tolist() == pytest.approx([1])
    assert losses.smooth_load(even, noise=1.0).tolist() == pytest.approx([0])
