"""A GRPO step: draws, rewards, advantages and loss as they should be, and beside trl's GRPOTrainer the same numbers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainingArguments
from trl import GRPOConfig, GRPOTrainer

from eval.answer_reader import AnswerReader
from eval.engine.types import Sampled, Sampling
from eval.problems import load
from pipeline.contract.errors import StageError
from pipeline.models import lora, pretrained
from pipeline.models.tokenizer import train_tokenizer
from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.rl.batch import Batch
from pipeline.rl.objectives.objective import Objective
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.rollouts.dynamic_sampling import DynamicSampling
from pipeline.rl.rollouts.reward_function import Graded, RewardFunction
from pipeline.rl.trainer import PolicyTrainer
from pipeline.training.learning import Learning
from pipeline.training.logprobs import completion_logprobs
from rewards.rubric import Reward, Rubric
from rewards.types import Completion, Label, Problem, Verdict

Tiny = Callable[..., Any]
Rewards = Callable[[Sequence[str], Sequence[Sampled]], list[float | None]]
PROBLEMS = load("word_problems:train", 8)
TOKENIZER = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in PROBLEMS], 96)
TEMPERATURE = 0.8
TOKENS = Objective()
NO_LOSSES = Balancing(importance=0, load=0, z=0, sequence=0)


class Fixed:
    """Grading by a function of problems and completions."""

    def __init__(self, rewards: Rewards) -> None:
        self.totals = self.finish = rewards

    def begin(self, problem: str, drawn: Sampled) -> None:
        pass


def at_random(problems: Sequence[str], drawn: Sequence[Sampled]) -> list[float | None]:
    """1 or 0 by what was drawn; always 0 for every other problem, whose groups then say nothing."""
    odd = [int(name.rpartition("-")[2]) % 2 for name in problems]
    return [float(sum(one.ids) % 2 * matters) for one, matters in zip(drawn, odd, strict=True)]


def alternating(_problems: Sequence[str], drawn: Sequence[Sampled]) -> list[float | None]:
    return [float(place % 2) for place, _ in enumerate(drawn)]


def arguments(folder: Any, steps: int = 2, *, bf16: bool = False) -> TrainingArguments:
    return TrainingArguments(
        str(folder), max_steps=steps, per_device_train_batch_size=1,
        train_sampling_strategy="sequential", remove_unused_columns=False, save_strategy="no", report_to=[],
        disable_tqdm=True, use_cpu=True, logging_steps=1, bf16=bf16,
    )


def trainer(
    model: Any, folder: Any, rewards: Rewards = at_random, balancing: Balancing = NO_LOSSES,
    dynamic: DynamicSampling | None = None, grading: Any = None, steps: int = 2, objective: Objective = TOKENS,
    temperature: float = TEMPERATURE, **plan: Any,
) -> PolicyTrainer:
    """Rounds of 4 problems in groups of 4, each for two updates."""
    learning = plan.pop("learning", Learning(learning_rate=1e-3))
    made = GrpoPlan(4, 4, 2, Sampling(20, temperature), objective, (0, "test"), learning, **plan)
    visits = [Visit(p.prompt, p.id, 0) for p in reversed(PROBLEMS)]
    return PolicyTrainer(
        model, TOKENIZER, arguments(folder, steps), made, visits, grading or Fixed(rewards), Balance(model, balancing),
        dynamic
    )


@pytest.fixture(params=["deepseek_v3", "qwen3"])
def model(request: pytest.FixtureRequest, tiny: Tiny, tmp_path: Any) -> Any:
    policy(tiny, request.param).save_pretrained(tmp_path / "start")
    TOKENIZER.save_pretrained(tmp_path / "start")
    return pretrained.load(tmp_path / "start")[0].train()


def policy(tiny: Tiny, family: str, **changed: Any) -> Any:
    """A random model that ends now and then, so that completions have many lengths."""
    model = tiny(family, vocab_size=len(TOKENIZER), initializer_range=0.15, **changed).train()
    with torch.no_grad():
        model.get_input_embeddings().weight[TOKENIZER.eos_token_id] *= 4
    return model


def move(model: Any) -> None:
    """As in a later update: not the policy that sampled any more."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)), alpha=0.02)


def first(made: PolicyTrainer) -> Batch:
    """The minibatch of the first update."""
    return begun(made)[0]


def begun(made: PolicyTrainer) -> list[Batch]:
    """The minibatches of the first round."""
    made.begin_round(0)
    return made.minibatches


def loss_and_gradients(compute: Callable[[], torch.Tensor], model: Any) -> Any:
    model.zero_grad()
    loss = compute()
    loss.backward()
    return loss.detach(), [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


def trls(made: PolicyTrainer, batch: Batch, folder: Any) -> Callable[[], torch.Tensor]:
    """The loss of trl's GRPOTrainer on the same model and minibatch."""
    objective = made.plan.objective
    args = GRPOConfig(
        str(folder), num_generations=4, per_device_train_batch_size=8, steps_per_generation=2, temperature=TEMPERATURE,
        use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[], epsilon=objective.clip[0],
        epsilon_high=objective.clip[1], importance_sampling_level=objective.form.ratios,
        loss_type="dapo" if objective.form.ratios == "token" else "grpo", router_aux_loss_coef=0.0,
        entropy_coef=objective.entropy_bonus,
    )
    other = GRPOTrainer(
        made.model, lambda **_: [0.0], args=args, processing_class=TOKENIZER,
        train_dataset=Dataset.from_list([{"prompt": "3"}])
    )
    other.beta = objective.beta  # set here, since a GRPOTrainer made with it loads the reference once more
    other.current_gradient_accumulation_steps = 1
    inputs = {**batch.tensors(), "old_per_token_logps": batch.logprobs, "ref_per_token_logps": batch.reference,
              "num_items_in_batch": torch.as_tensor(made.counts.tokens) * made.plan.updates}
    return lambda: other._compute_loss(made.model, inputs)


@pytest.mark.parametrize("objective", [
    Objective(), Objective(beta=0.1), Objective("gspo"), Objective("dapo", 0.05, 0.05), Objective(entropy_bonus=0.3),
], ids=["token", "kl", "sequence", "narrow", "entropy"])
def test_loss_and_gradients_are_trls(model: Any, tmp_path: Any, objective: Objective) -> None:
    made = trainer(model, tmp_path, objective=objective)
    batch = first(made)
    assert (batch.advantages == 0).any()
    assert (batch.advantages != 0).any()
    assert batch.completion_mask.sum(1).unique().numel() > 2
    if objective.entropy_bonus:  # of which trl takes the mean over these tokens, and not over those of the round
        made.counts = replace(made.counts, tokens=batch.completion_mask.sum())
    move(model)
    ours, our_gradients = loss_and_gradients(lambda: made.loss(model, batch.rows(made.moving(batch))), model)
    theirs, their_gradients = loss_and_gradients(trls(made, batch, tmp_path), model)
    del model.forward  # trl's fused head
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert max(float(g.abs().max()) for g in their_gradients) > 1e-3
    for a, b in zip(our_gradients, their_gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("changed", [
    {"micro_batch_tokens": 1}, {"micro_batch_tokens": 100}, {"gradient_checkpointing": True},
    {"micro_batch_tokens": 100, "gradient_checkpointing": True},
])
@pytest.mark.parametrize("family", ["qwen3", "deepseek_v3", "qwen3_moe"])
def test_parts_and_recomputed_layers_have_the_gradients_of_the_whole(
    tiny: Tiny, tmp_path: Any, family: str, changed: dict[str, Any]
) -> None:
    """Rollouts in bf16, so that replayed experts are others than the policy would take."""
    found = []
    for settings in ({}, changed):
        model = policy(tiny, family)
        learning = Learning.model_validate({"learning_rate": 1e-3, **settings})
        made = trainer(model, tmp_path, learning=learning, replay="rollout", rollout_dtype=torch.bfloat16)
        made.begin_round(0)
        made.state.global_step = 1  # the second update of the round, which draws nothing
        made.model_wrapped = model
        made.optimizer = made.create_optimizer()
        model.zero_grad()
        loss = made.training_step(model, {})
        found.append((loss, [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()],
                      made.rounds.replay.replay.others if made.rounds.replay else 0))
    (loss, gradients, others), (loss_again, gradients_again, others_again) = found
    assert torch.allclose(loss, loss_again, rtol=1e-4, atol=1e-6)
    assert others == others_again
    assert others > 0 or family != "deepseek_v3"
    assert max(float(g.abs().max()) for g in gradients) > 1e-3
    for a, b in zip(gradients, gradients_again, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def test_adapters_are_not_drawn_while_weights_lie_in_parts(
    model: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora.add(model, lora.Lora(rank=2), seed=0)
    trainer(model, tmp_path)
    monkeypatch.setattr(PolicyTrainer, "parted", True)
    with pytest.raises(StageError, match="rollouts of adapters are not drawn while the weights lie in parts"):
        trainer(model, tmp_path)


def test_the_reference_is_the_policy_of_the_start(model: Any, tmp_path: Any) -> None:
    made = trainer(model, tmp_path, objective=Objective(beta=0.1))
    batch = first(made)
    assert batch.reference is not None
    assert torch.allclose(batch.reference, batch.logprobs, atol=1e-4)
    move(model)
    kept = batch.completion_mask.bool()
    assert made.rounds.reference is not None
    assert torch.equal(made.rounds.reference.logprobs(batch), batch.reference)
    now = completion_logprobs(model, batch.ids, batch.mask, kept.shape[1], TEMPERATURE)[0]
    assert (now - batch.reference)[kept].abs().max() > 1e-3


def test_groups_without_signal_have_no_gradient(model: Any, tmp_path: Any) -> None:
    made = trainer(model, tmp_path, rewards=lambda problems, _: [1.0] * len(problems))
    batch = first(made)
    assert (batch.advantages == 0).all()
    loss, gradients = loss_and_gradients(lambda: made.loss(model, batch.rows(made.moving(batch))), model)
    assert loss == 0
    assert all((g == 0).all() for g in gradients)


def recorded_are_those_of_a_forward(model: Any, batch: Batch, temperature: float) -> bool:
    kept = batch.completion_mask.bool()
    with torch.no_grad():
        again = completion_logprobs(model, batch.ids, batch.mask, kept.shape[1], temperature)[0]
    return bool(kept.sum() > 20) and torch.allclose(batch.logprobs[kept], again[kept], atol=1e-4)


@pytest.mark.parametrize("temperature", [0.8, 1.0])
def test_recorded_logprobs_are_what_a_forward_gives(model: Any, tmp_path: Any, temperature: float) -> None:
    assert recorded_are_those_of_a_forward(model, first(trainer(model, tmp_path, temperature=temperature)), temperature)


def test_rollouts_of_a_group_differ_and_visits_do_not_repeat(model: Any, tmp_path: Any) -> None:
    def completions(visit: int, made: PolicyTrainer) -> list[list[int]]:
        asked = [Visit(p.prompt, p.id, visit) for p in PROBLEMS[:2] for _ in range(4)]
        return [one.ids for one in made.rounds.drawing.draw(asked, 0, lambda *_: None)]

    made = trainer(model, tmp_path)
    begins, others = completions(0, made), completions(1, made)
    assert len({tuple(ids) for ids in begins[:4]}) > 1
    assert begins != others
    assert completions(0, trainer(model, tmp_path)) == begins


def test_training_moves_the_model_and_is_the_same_twice(tiny: Tiny, tmp_path: Any) -> None:
    def run() -> dict[str, Any]:
        model = policy(tiny, "deepseek_v3")
        trainer(model, tmp_path, steps=4).train()
        state: dict[str, Any] = model.state_dict()
        return state

    start = policy(tiny, "deepseek_v3").state_dict()
    once, twice = run(), run()
    assert any(not torch.equal(start[name], once[name]) for name in start)
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_a_round_is_logged_with_its_first_update(model: Any, tmp_path: Any) -> None:
    made = trainer(model, tmp_path, rewards=alternating, steps=4)
    made.train()
    rows = [row for row in made.state.log_history if "loss" in row]
    assert ["reward" in row for row in rows] == [True, False, True, False]
    assert all(row["entropy"] > 0 for row in rows)
    assert rows[0]["reward"] == 0.5
    assert rows[0]["groups_without_signal"] == 0
    assert 1 <= rows[0]["length"] <= 20
    assert made.state.num_input_tokens_seen > 32 * rows[0]["length"] / 2


class OddProblemsTeach(RewardFunction):
    """1 or 0 by what was drawn where a problem's number is odd; every other problem gives 1."""

    def _score(self, problem: Problem, completion: Completion) -> Graded:
        odd = int(problem.id.rpartition("-")[2]) % 2
        return Graded(completion, Verdict(Label.CORRECT), Reward(float(completion.tokens % 2) if odd else 1.0, {}))


def test_groups_without_signal_give_way_to_others(model: Any, tmp_path: Any) -> None:
    grading = OddProblemsTeach({p.id: p for p in PROBLEMS}, Rubric(), AnswerReader(TOKENIZER))
    reserve = [Visit(p.prompt, p.id, visit) for visit in (1, 2, 3) for p in PROBLEMS]
    dynamic = DynamicSampling(12, reserve, size=4, scale="group")
    made = trainer(model, tmp_path, grading=grading, dynamic=dynamic)
    parts = begun(made)
    assert dynamic.without >= 2  # problems of even numbers are among any four
    assert dynamic.drawn == 4 + dynamic.used
    assert sum(int((part.advantages != 0).sum()) for part in parts) == 16  # four whole groups, each with a gradient
    assert made.counts.tokens == sum(part.completion_mask.sum() for part in parts) / 2
    assert recorded_are_those_of_a_forward(model, parts[0], TEMPERATURE)


def test_the_ungradable_leave_the_group_and_nothing_turns_nan(model: Any, tmp_path: Any) -> None:
    made = trainer(model, tmp_path, rewards=lambda problems, _: [
        None if place % 4 == 1 else float(place % 4) for place in range(len(problems))])
    batch = first(made)
    loss, gradients = loss_and_gradients(lambda: made.loss(model, batch.rows(made.moving(batch))), model)
    assert batch.advantages.isfinite().all()
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in gradients)


def encode(text: str) -> list[int]:
    ids: list[int] = TOKENIZER(text)["input_ids"]
    return ids


def test_equal_rewards_are_no_advantage_at_all(model: Any, tmp_path: Any) -> None:
    """1.2 is no binary fraction: the mean of four of them is not 1.2 again, and what is left would be divided by its
    deviation."""
    threes = {problem.id: Problem(problem.id, problem.prompt, "3", "math", "threes") for problem in PROBLEMS}
    grading = RewardFunction(threes, Rubric(rules={"format": 0.2}), AnswerReader(TOKENIZER))
    ids = [*encode("<think>So 3.</think><answer>3</answer>"), TOKENIZER.eos_token_id]
    said = Sampled(ids, [0.0] * len(ids), True)
    totals = grading.finish([PROBLEMS[0].id] * 6, [said] * 6)
    assert totals == pytest.approx([1.2] * 6, abs=1e-4)
    assert torch.tensor(totals).std() == 0
    made = trainer(
        model, tmp_path, rewards=lambda problems, _: grading.finish([PROBLEMS[0].id], [said]) * len(problems)
    )
    assert (first(made).advantages == 0).all()


def test_an_only_update_has_a_rate(model: Any, tmp_path: Any) -> None:
    before = [parameter.detach().clone() for parameter in model.parameters()]
    made = trainer(model, tmp_path, rewards=alternating, steps=1)
    made.train()
    assert not all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_what_is_dealt_to_updates_is_every_rollout_once(model: Any, tmp_path: Any) -> None:
    made = trainer(model, tmp_path)
    torch.manual_seed(3)
    parts = begun(made)
    torch.manual_seed(4)
    others = begun(made)
    assert [len(part) for part in parts] == [8, 8]

    def rows(some: Sequence[Batch]) -> list[list[int]]:
        return [row.tolist() for part in some for row in part.ids]

    assert rows(parts) != rows(others)
    assert sorted(rows(parts)) == sorted(rows(others))


sizes = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=6)


@given(sizes, st.data())
def test_trimming_takes_away_padding_alone(lengths: list[tuple[int, int]], data: st.DataObject) -> None:
    count = len(lengths)
    widest_prompt, widest = (max(pair[i] for pair in lengths) + data.draw(st.integers(0, 3)) for i in (0, 1))
    prompt_mask = torch.stack([torch.arange(widest_prompt) >= widest_prompt - p for p, _ in lengths]).long()
    mask = torch.stack([torch.arange(widest) < c for _, c in lengths]).long()
    batch = Batch(
        prompt_mask=prompt_mask,
        prompt_ids=torch.arange(count * widest_prompt).view(count, -1) * prompt_mask,
        completion_mask=mask,
        completion_ids=torch.arange(count * widest).view(count, -1) * mask,
        logprobs=-torch.rand(count, widest) * mask,
        advantages=torch.rand(count),
        prompt_experts=torch.zeros(count, widest_prompt, 2, 2),
        completion_experts=torch.zeros(count, widest, 2, 2),
    )
    rows = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True)))
    trimmed = batch.trimmed(rows)
    assert trimmed.reference is None
    assert torch.equal(trimmed.advantages, batch.advantages[rows])
    assert trimmed.prompt_mask[:, 0].any()
    assert trimmed.completion_mask[:, -1].any()
    for ids, masked, cut_ids, cut_mask in (
        (batch.prompt_ids, prompt_mask, trimmed.prompt_ids, trimmed.prompt_mask),
        (batch.completion_ids, mask, trimmed.completion_ids, trimmed.completion_mask),
    ):
        for place, row in enumerate(rows.tolist()):
            assert torch.equal(cut_ids[place][cut_mask[place].bool()], ids[row][masked[row].bool()])
        assert cut_ids.shape == cut_mask.shape
    assert trimmed.logprobs.shape == trimmed.completion_ids.shape
    assert trimmed.logprobs.sum() == pytest.approx(float(batch.logprobs[rows].sum()), rel=1e-5)
    assert trimmed.experts is not None
    assert trimmed.experts.shape[:2] == trimmed.ids.shape


def test_a_batch_is_its_tensors_again(model: Any, tmp_path: Any) -> None:
    batch = first(trainer(model, tmp_path))
    again = Batch(**batch.tensors())
    assert batch.tensors().keys() == again.tensors().keys()
    assert all(torch.equal(value, again.tensors()[name]) for name, value in batch.tensors().items())
    assert "reference" not in batch.tensors()
    assert "reference" in replace(batch, reference=batch.logprobs).tensors()
