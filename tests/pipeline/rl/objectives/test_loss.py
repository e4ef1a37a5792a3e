"""The parts of the objective: by hand, by their properties, and beside trl's GRPOTrainer where it has the same
formula."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from pipeline.models.tokenizer import train_tokenizer
from pipeline.rl.batch import Batch
from pipeline.rl.objectives import loss
from pipeline.rl.objectives.objective import FORMS, Counts, Kl, Name, Objective

LN2, LN3 = torch.tensor(2.0).log(), torch.tensor(3.0).log()


def test_token_ratios_by_hand() -> None:
    assert torch.allclose(
        loss.token_ratios(torch.tensor([[LN2, 0.0]]), torch.tensor([[0.0, LN3]])), torch.tensor([[2.0, 1 / 3]])
    )


def test_sequence_ratios_are_the_geometric_mean_of_token_ratios() -> None:
    new = torch.stack([torch.stack([2 * LN2, torch.zeros(()), LN3]), torch.stack([LN3, LN3, LN3])])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    # the first: sqrt(4 * 1), its third token is padding; the second: cube root of 27
    assert torch.allclose(loss.sequence_ratios(new, torch.zeros(2, 3), mask), torch.tensor([[2.0], [3.0]]))


def test_an_answer_that_has_become_far_likelier_is_a_number() -> None:
    new = torch.full((1, 200), 1.0, requires_grad=True)
    ratios = loss.answer_ratios(new, torch.zeros(1, 200), torch.ones(1, 200))
    whole = loss.clipped_surrogate(ratios, torch.zeros(1), 0.2, 0.2).sum() + loss.kl_k3(new, torch.zeros(1, 200)).sum()
    whole.backward()
    assert ratios.isfinite().all()
    assert new.grad is not None
    assert new.grad.isfinite().all()


def test_answer_ratios_are_the_product_of_token_ratios() -> None:
    new = torch.stack([torch.stack([2 * LN2, torch.zeros(()), LN3]), torch.stack([LN3, LN3, -LN2])])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert torch.allclose(loss.answer_ratios(new, torch.zeros(2, 3), mask), torch.tensor([[4.0], [4.5]]))


def test_a_cut_ratio_of_cispo_keeps_its_gradient() -> None:
    """Ratios of 1.5 and 9 with a bound of 5, and advantage 2: the weight is the ratio or the bound, and the gradient of
    the log-probability is minus that times the advantage, where PPO's bound would leave none."""
    logprobs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    found = loss.weighted_logprobs(torch.tensor([[1.5, 9.0]]), logprobs, torch.tensor([2.0]), 1.0, 4.0)
    assert found.tolist() == [[3.0, 20.0]]
    found.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-3.0, -10.0]]


def test_a_sequence_without_a_token_has_ratio_one() -> None:
    assert loss.sequence_ratios(torch.ones(1, 2), torch.zeros(1, 2), torch.zeros(1, 2)).item() == 1


@pytest.mark.parametrize(("ratio", "advantage", "expected", "stopped"), [
    (1.0, 2.0, -2.0, False),
    (1.5, 2.0, -2.5, True),    # clipped at 1.25: there is nothing to gain any more
    (0.5, 2.0, -1.0, False),   # a token that should be likelier and is less likely is not clipped
    (1.5, -2.0, 3.0, False),
    (0.5, -2.0, 1.6, True),    # clipped at 0.8
    (1.25, 1.0, -1.25, False),
    (0.5, 0.0, 0.0, False),
])
def test_the_clipped_surrogate_by_hand(ratio: float, advantage: float, expected: float, stopped: bool) -> None:
    ratios = torch.tensor([[ratio]], requires_grad=True)
    found = loss.clipped_surrogate(ratios, torch.tensor([advantage]), 0.2, 0.25)
    found.sum().backward()
    assert found.item() == pytest.approx(expected)
    assert ratios.grad is not None
    assert (ratios.grad.item() == 0) == (stopped or advantage == 0)
    assert loss.clipped(ratios, torch.tensor([advantage]), 0.2, 0.25).item() == stopped


def test_kl_estimators_by_hand() -> None:
    policy, reference = torch.tensor([[LN2, 0.0]]), torch.tensor([[0.0, LN3]])
    assert torch.allclose(loss.kl_k1(policy, reference), torch.tensor([[LN2, -LN3]]))
    # 1/2 - ln(1/2) - 1 and 3 - ln 3 - 1
    assert torch.allclose(loss.kl_k3(policy, reference), torch.stack([LN2 - 0.5, 2 - LN3]).unsqueeze(0))


@given(st.lists(st.floats(0.02, 1.0), min_size=2, max_size=6), st.lists(st.floats(0.02, 1.0), min_size=6, max_size=6))
def test_both_kl_estimators_have_the_divergence_as_their_expectation(ours: list[float], others: list[float]) -> None:
    policy = torch.tensor(ours, dtype=torch.float64)
    policy = policy / policy.sum()
    reference = torch.tensor(others[: len(ours)], dtype=torch.float64)
    reference = reference / reference.sum()
    exact = (policy * (policy / reference).log()).sum()
    for estimate in (loss.kl_k1, loss.kl_k3):
        assert (policy * estimate(policy.log(), reference.log())).sum().item() == pytest.approx(exact.item(), abs=1e-9)
    assert (loss.kl_k3(policy.log(), reference.log()) >= 0).all()


def test_normalizations_by_hand() -> None:
    losses, mask = torch.tensor([[1.0, 2.0, 9.0], [4.0, 9.0, 9.0]]), torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert loss.sum_over_tokens(losses, mask, 3).item() == pytest.approx(7 / 3)
    assert loss.sum_over_sequences(losses, mask, 2).item() == pytest.approx((1.5 + 4) / 2)
    # one value a sequence: GSPO's loss does not depend on how long the sequences are, a sum over tokens does
    shared = torch.tensor([[1.0], [4.0]])
    assert loss.sum_over_sequences(shared, mask, 2).item() == pytest.approx(2.5)
    assert loss.sum_over_tokens(shared, mask, 3).item() == pytest.approx((2 * 1 + 4) / 3)


def test_truncated_importance_by_hand() -> None:
    policy, sampler = torch.zeros(3, 2), torch.zeros(3, 2)
    policy[0] = torch.tensor([LN2, 2 * LN2])  # twice and four times as likely: the second is cut
    policy[1, 0] = -LN2
    policy[1, 1] = 50.0  # padding
    sampler[2] = float("nan")
    mask = torch.tensor([[1, 1], [1, 0], [1, 1]])
    weights = loss.truncated_importance(policy.requires_grad_(), sampler, mask, 2.0)
    assert torch.allclose(weights, torch.tensor([[2.0, 2.0], [0.5, 1.0], [1.0, 1.0]]))
    assert not weights.requires_grad


def batch(rows: int, seq: int, seed: int, *, sampler: bool = False, reference: bool = False) -> tuple[Batch, Tensor]:
    """A batch of random numbers, and log-probabilities [rows, seq] of a policy that has moved."""
    generator = torch.Generator().manual_seed(seed)

    def near(center: Tensor) -> Tensor:
        return center + 0.3 * torch.randn(rows, seq, generator=generator, dtype=torch.float64)

    lengths = torch.randint(1, seq + 1, (rows,), generator=generator)
    mask = (torch.arange(seq) < lengths.unsqueeze(1)).long()
    old = -torch.rand(rows, seq, generator=generator, dtype=torch.float64)
    made = Batch(
        prompt_ids=torch.zeros(rows, 1, dtype=torch.long), prompt_mask=torch.ones(rows, 1, dtype=torch.long),
        completion_ids=torch.zeros(rows, seq, dtype=torch.long), completion_mask=mask,
        advantages=torch.randn(rows, generator=generator, dtype=torch.float64), logprobs=old,
        reference=near(old) if reference else None, sampler_logprobs=near(old) if sampler else None,
    )
    return made, near(old)


LONGEST = 9

LOSS_TYPES = {"gspo": "grpo", "maxrl": "dapo", "reinforce++": "dapo"}
"""trl's names of losses that are called otherwise here; what sets these apart from others is their advantages, or the
ratios of sequences."""


def trls(
    tiny: Callable[..., Any], folder: Path, logprobs: Tensor, made: Batch, objective: Objective,
    entropies: Tensor | None = None,
) -> Tensor:
    """The loss that a GRPOTrainer makes of these log-probabilities and entropies."""
    tokenizer = train_tokenizer(["3"], 64)
    low, high = objective.clip
    args = GRPOConfig(
        str(folder), num_generations=2, per_device_train_batch_size=2, use_cpu=True, bf16=False,
        gradient_checkpointing=False, report_to=[], epsilon=low, max_completion_length=LONGEST,
        epsilon_high=1 + high if objective.name == "cispo" else high,  # trl's CISPO has the bound, not its distance
        loss_type=LOSS_TYPES.get(objective.name, objective.name), importance_sampling_level=objective.form.ratios,
        use_bias_correction_kl=objective.form.ratios == "token", entropy_coef=objective.entropy_bonus,
    )
    trainer = GRPOTrainer(tiny("qwen3", vocab_size=len(tokenizer)), lambda **_: [0.0], args=args,
                          processing_class=tokenizer, train_dataset=Dataset.from_list([{"prompt": "3"}]))
    trainer.beta = objective.beta  # set here, since a GRPOTrainer made with it loads the reference from a hub
    trainer.use_vllm = made.sampler_logprobs is not None
    trainer.current_gradient_accumulation_steps = 1
    entropies = torch.zeros_like(logprobs) if entropies is None else entropies
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logprobs, entropies, None)
    inputs: dict[str, Any] = {
        "prompt_ids": made.prompt_ids, "prompt_mask": made.prompt_mask, "completion_ids": made.completion_ids,
        "completion_mask": made.completion_mask, "advantages": made.advantages, "old_per_token_logps": made.logprobs,
        "num_items_in_batch": made.completion_mask.sum(),
    }
    if made.reference is not None:
        inputs["ref_per_token_logps"] = made.reference
    if made.sampler_logprobs is not None:  # trl makes this in the private method that also draws
        inputs["importance_sampling_ratio"] = loss.truncated_importance(
            made.logprobs, made.sampler_logprobs, made.completion_mask, 2.0
        )
    found: Tensor = trainer._compute_loss(trainer.model, inputs)
    return found


def require_alike(ours: Tensor, theirs: Tensor, found: Tensor, expected: Tensor) -> None:
    """The same loss, and the same gradients of the log-probabilities `ours` and `theirs`."""
    found.backward()
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9)
    assert ours.grad.abs().max() > 1e-3


@pytest.mark.parametrize("sampler", [False, True])
@pytest.mark.parametrize(("name", "beta"), [
    *((name, 0.0) for name in FORMS if name != "rloo"), ("dapo", 0.1), ("grpo", 0.1), ("dr_grpo", 0.1), ("cispo", 0.1),
])
def test_the_objective_is_trls(
    tiny: Callable[..., Any], tmp_path: Path, name: Name, beta: float, sampler: bool
) -> None:
    """trl has GSPO as sequence ratios under the loss type "grpo". With a KL term it weighs the divergence of tokens by
    the ratio of their sequence there, which is not what its source says; ours is tested by hand below. Clips are as
    wide as numbers drawn at random need."""
    wide = {"clip_low": 0.2, "clip_high": 0.28} if name == "gspo" else {}
    objective = Objective(name, beta=beta, longest=LONGEST, **wide)
    made, logprobs = batch(6, 7, seed=1, sampler=sampler, reference=bool(beta))
    ours, theirs = logprobs.clone().requires_grad_(), logprobs.clone().requires_grad_()
    counts = Counts(float(made.completion_mask.sum()), 6.0)
    require_alike(ours, theirs, objective.loss(ours, made, counts), trls(tiny, tmp_path, theirs, made, objective))


@pytest.mark.parametrize("name", ["dapo", "gspo", "dr_grpo"])
def test_the_entropy_bonus_is_trls(tiny: Callable[..., Any], tmp_path: Path, name: Name) -> None:
    objective = Objective(name, 0.2, 0.28, longest=LONGEST, entropy_bonus=0.3)
    made, logprobs = batch(6, 7, seed=1)
    ours, theirs = logprobs.clone().requires_grad_(), logprobs.clone().requires_grad_()
    mine, others = (-logprobs.clone() for _ in range(2))
    mine.requires_grad_()
    others.requires_grad_()
    found = objective.loss(ours, made, Counts(float(made.completion_mask.sum()), 6.0), mine)
    require_alike(ours, theirs, found, trls(tiny, tmp_path, theirs, made, objective, others))
    assert mine.grad is not None
    assert others.grad is not None
    assert torch.allclose(mine.grad, others.grad, rtol=1e-6, atol=1e-9)
    assert torch.allclose(mine.grad, -0.3 * made.completion_mask.double() / made.completion_mask.sum())
    assert objective.moves(made).tolist() == list(range(6))


def test_rloo_is_trls(tiny: Callable[..., Any], tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["3"], 64)
    args = RLOOConfig(str(tmp_path), num_generations=2, per_device_train_batch_size=2, use_cpu=True, bf16=False,
                      gradient_checkpointing=False, report_to=[], beta=0.0)
    trainer = RLOOTrainer(tiny("qwen3", vocab_size=len(tokenizer)), lambda **_: [0.0], args=args,
                          processing_class=tokenizer, train_dataset=Dataset.from_list([{"prompt": "3"}]))
    made, logprobs = batch(6, 7, seed=1)
    ours, theirs = logprobs.clone().requires_grad_(), logprobs.clone().requires_grad_()
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (theirs, torch.zeros_like(theirs), None)
    expected = trainer._compute_loss(trainer.model, {
        "prompt_ids": made.prompt_ids, "prompt_mask": made.prompt_mask, "completion_ids": made.completion_ids,
        "completion_mask": made.completion_mask, "advantages": made.advantages,
        "old_logps": (made.logprobs * made.completion_mask).sum(dim=1),
    })
    require_alike(ours, theirs, Objective("rloo").loss(ours, made, Counts(1.0, 6.0)), expected)


def test_gspo_by_hand() -> None:
    """Two sequences of one and of three tokens whose ratios are 1.1 and 0.8, with advantages 1 and -1 and a wide clip:
    each counts once, whatever its length."""
    ratios = torch.tensor([[1.1, 1.0, 1.0], [0.8, 0.8, 0.8]], dtype=torch.float64)
    mask = torch.tensor([[1, 0, 0], [1, 1, 1]])
    made, _ = batch(2, 3, seed=0)
    made = Batch(**{**made.tensors(), "completion_mask": mask, "logprobs": torch.zeros(2, 3, dtype=torch.float64),
                    "advantages": torch.tensor([1.0, -1.0], dtype=torch.float64)})
    logprobs = ratios.log().requires_grad_()
    found = Objective("gspo", 0.5, 0.5).loss(logprobs, made, Counts(4.0, 2.0))
    found.backward()
    assert found.item() == pytest.approx((-1.1 + 0.8) / 2)
    # d/d logprob of a ratio of sequences is the ratio over the sequence's length (equation 10)
    expected = torch.tensor([[-1.1 / 2, 0, 0], [0.8 / 6, 0.8 / 6, 0.8 / 6]], dtype=torch.float64)
    assert torch.allclose(logprobs.grad, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["dapo", "gspo", "grpo", "rloo"])
@pytest.mark.parametrize(("kl", "divergence"), [("k3", 0.25 + 2 * LN2.item() - 1), ("k1", 2 * LN2.item())])
def test_the_kl_term_by_hand(name: Name, kl: Kl, divergence: float) -> None:
    """One token that became twice as likely as it was when it was drawn, and is four times as likely as under the
    reference."""
    made, _ = batch(1, 1, seed=0)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    made = Batch(**{**made.tensors(), "advantages": torch.zeros(1), "logprobs": zero, "reference": zero - LN2})
    found = Objective(name, 0.2, 0.2, beta=0.1, kl=kl).loss(zero + LN2, made, Counts(1.0, 1.0))
    assert found.item() == pytest.approx(0.1 * 2 * divergence)


@given(
    st.integers(1, 8), st.integers(1, 6), st.integers(0, 99), st.sampled_from(list(FORMS)), st.booleans(), st.data()
)
def test_parts_of_a_batch_add_up_to_the_whole(
    rows: int, seq: int, seed: int, name: Name, reference: bool, data: Any
) -> None:
    """So that chunks, micro-batches and processes do not change what is trained."""
    made, logprobs = batch(rows, seq, seed, reference=reference)
    objective = Objective(name, 0.2, 0.28, 0.1 if reference else 0.0, longest=seq)
    counts = Counts(float(made.completion_mask.sum()), float(rows))
    order = torch.tensor(data.draw(st.permutations(range(rows))))
    cut = data.draw(st.integers(0, rows))
    parts = [part for part in (order[:cut], order[cut:]) if len(part)]
    whole, split = logprobs.clone().requires_grad_(), logprobs.clone().requires_grad_()
    objective.loss(whole, made, counts).backward()
    for part in parts:
        trimmed = made.trimmed(part)
        objective.loss(split[part][:, : trimmed.completion_ids.shape[1]], trimmed, counts).backward()
    assert torch.allclose(whole.grad, split.grad, atol=1e-12)  # type: ignore[arg-type]


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 99), st.sampled_from(list(FORMS)))
def test_rows_that_do_not_move_have_no_gradient(rows: int, seq: int, seed: int, name: Name) -> None:
    made, logprobs = batch(rows, seq, seed)
    made.advantages[::2] = 0
    objective = Objective(name, 0.2, 0.28)
    logprobs.requires_grad_()
    objective.loss(logprobs, made, Counts(1.0, 1.0)).backward()
    assert objective.moves(made).tolist() == list(range(1, rows, 2))
    assert logprobs.grad is not None
    assert (logprobs.grad[::2] == 0).all()
    assert (logprobs.grad[made.completion_mask == 0] == 0).all()


@pytest.mark.parametrize("name", list(FORMS))
def test_what_tools_wrote_between_turns_has_no_gradient(name: Name) -> None:
    made, logprobs = batch(2, 8, seed=2, sampler=True, reference=True)
    written = torch.tensor([[0, 1, 1, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 1, 1, 1]])  # two observations in each row
    whole = torch.ones_like(made.completion_mask)
    logprobs.requires_grad_()
    turns = Batch(**{**made.tensors(), "completion_mask": whole, "forced": written})
    Objective(name, 0.9, 9.0, beta=0.1, longest=8, entropy_bonus=0.1).loss(
        logprobs, turns, Counts(8.0, 2.0), logprobs.exp()
    ).backward()
    assert logprobs.grad is not None
    assert (logprobs.grad[written == 1] == 0).all()
    assert (logprobs.grad[written == 0] != 0).all()


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_a_token_that_was_forced_has_no_gradient_and_counts_nowhere(name: Name, beta: float) -> None:
    """The loss is the one of the same tokens without it, and not even an infinite ratio of it is seen."""
    made, logprobs = batch(3, 4, seed=1, sampler=True, reference=bool(beta))
    objective, counts = Objective(name, beta=beta, longest=4), Counts(7.0, 3.0)
    whole = torch.ones_like(made.completion_mask)
    whole[0, 3] = 0
    without = Batch(**{**made.tensors(), "completion_mask": whole})
    forced, far = torch.zeros_like(whole), logprobs.clone()
    forced[1, 1], far[1, 1] = 1, -1e4
    middle = Batch(**{**without.tensors(), "forced": forced, "logprobs": without.logprobs.masked_fill(forced == 1, 0)})
    # Of the second row the token is taken out, and the rest moves up.
    less = {key: value.clone() for key, value in without.tensors().items()}
    moved = logprobs.clone()
    for value in (moved, *(less[key] for key in ("logprobs", "reference", "sampler_logprobs") if key in less)):
        value[1, 1:3] = value[1, 2:4].clone()
    less["completion_mask"][1, 3] = 0
    far.requires_grad_()
    found = objective.loss(far, middle, counts)
    found.backward()
    assert found.item() == pytest.approx(objective.loss(moved, Batch(**less), counts).item())
    assert far.grad is not None
    assert far.grad[1, 1] == 0
    assert far.grad.isfinite().all()
    assert (far.grad[1, [0, 2, 3]] != 0).any() or name in ("gspo", "rloo", "cispo")
