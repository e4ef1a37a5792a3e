"""GRPO through trl's own trainer: what is left out of the loss changes neither it nor its gradient."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from trl import GRPOConfig, GRPOTrainer

from eval.problems import load
from pipeline.models import pretrained
from pipeline.models.tokenizer import train_tokenizer
from pipeline.moe.balance import Balance
from pipeline.moe.balancing import Balancing
from pipeline.rl.dynamic_sampling import DynamicSampling
from pipeline.rl.policy import PolicyTrainer
from pipeline.rl.reward_function import RewardFunction
from pipeline.training.chunks import trim
from rewards.rubric import Reward, Rubric
from rewards.types import Completion, Label, Problem, Verdict

Tiny = Callable[..., Any]
PROBLEMS = load("word_problems:train", 8)
TOKENIZER = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in PROBLEMS], 96)


def reward_at_random(completion_ids: list[list[int]], problem: list[str], **_: Any) -> list[float]:
    """1 or 0 by what was drawn; always 0 for every other problem, whose groups then say nothing."""
    odd = [int(name.rpartition("-")[2]) % 2 for name in problem]
    return [float(sum(ids) % 2 * matters) for ids, matters in zip(completion_ids, odd, strict=True)]


NO_LOSSES = Balancing(importance=0, load=0, z=0, sequence=0)


def trainer(
    model: Any, folder: Any, reward: Any = reward_at_random, balancing: Balancing = NO_LOSSES, replay: Any = None, dtype: Any = None,
    dynamic: DynamicSampling | None = None, **changed: Any,
) -> PolicyTrainer:
    options = {
        "output_dir": str(folder), "max_steps": 2, "per_device_train_batch_size": 8, "steps_per_generation": 2,
        "gradient_accumulation_steps": 1, "num_generations": 4, "max_completion_length": 20, "beta": 0.0,
        "loss_type": "dapo", "scale_rewards": "group", "epsilon_high": 0.28, "learning_rate": 1e-3, "save_strategy": "no",
        "report_to": [], "disable_tqdm": True, "use_cpu": True, "bf16": False, "gradient_checkpointing": False,
        "temperature": 0.8, "logging_steps": 1, "shuffle_dataset": False,
    }
    return PolicyTrainer(
        model=model,
        args=GRPOConfig(**{**options, **changed}),
        reward_funcs=reward,
        train_dataset=Dataset.from_list([{"prompt": p.prompt, "problem": p.id, "visit": 0} for p in reversed(PROBLEMS)]),
        processing_class=TOKENIZER,
        seed_parts=(0, "test"),
        open_thinking=False,
        balance=Balance(model, balancing),
        replay=replay,
        rollout_dtype=dtype,
        dynamic=dynamic,
    )


@pytest.fixture(params=["deepseek_v3", "qwen3"])
def model(request: pytest.FixtureRequest, tiny: Tiny, tmp_path: Any) -> Any:
    policy(tiny, request.param).save_pretrained(tmp_path / "start")
    TOKENIZER.save_pretrained(tmp_path / "start")
    return pretrained.load(tmp_path / "start")[0].train()  # trl reads the reference model from where the policy came from


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


def inputs_of(made: PolicyTrainer) -> dict[str, Any]:
    """The first micro-batch, generated and scored by trl, as a step would get it."""
    made.current_gradient_accumulation_steps = 1
    batch = next(iter(made.get_train_dataloader()))
    inputs: dict[str, Any] = made._prepare_inputs(batch)
    return inputs


def loss_and_gradients(compute: Callable[[Any, Any], torch.Tensor], model: Any, inputs: Any) -> Any:
    model.zero_grad()
    loss = compute(model, dict(inputs))
    loss.backward()
    return loss.detach(), [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("changed", [
    {},
    {"beta": 0.1},
    {"importance_sampling_level": "sequence"},
    {"loss_type": "cispo", "epsilon_high": 5.0},
    {"loss_type": "dr_grpo"},
])
def test_loss_and_gradients_are_trls_own(
    model: Any, tmp_path: Any, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(model, tmp_path, **changed)
    inputs = inputs_of(made)
    assert (inputs["advantages"] == 0).any()
    assert (inputs["advantages"] != 0).any()
    assert inputs["completion_mask"].sum(1).unique().numel() > 2
    move(model)
    ours, our_gradients = loss_and_gradients(made._compute_loss, model, inputs)
    its_own = GRPOTrainer._get_per_token_logps_and_entropies
    monkeypatch.setattr(PolicyTrainer, "_get_per_token_logps_and_entropies", its_own)
    theirs, their_gradients = loss_and_gradients(lambda m, i: GRPOTrainer._compute_loss(made, m, i), model, inputs)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert max(float(g.abs().max()) for g in their_gradients) > 1e-3
    for a, b in zip(our_gradients, their_gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def test_groups_without_signal_have_no_gradient(model: Any, tmp_path: Any) -> None:
    made = trainer(model, tmp_path, reward=lambda completion_ids, **_: [1.0] * len(completion_ids))
    inputs = inputs_of(made)
    assert (inputs["advantages"] == 0).all()
    loss, gradients = loss_and_gradients(made._compute_loss, model, inputs)
    assert loss == 0
    assert all((g == 0).all() for g in gradients)


@pytest.mark.parametrize("temperature", [0.8, 1.0])
def test_recorded_logprobs_are_what_a_forward_gives(model: Any, tmp_path: Any, temperature: float) -> None:
    made = trainer(model, tmp_path, temperature=temperature)
    inputs = inputs_of(made)
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    with torch.no_grad():
        again, _, _ = GRPOTrainer._get_per_token_logps_and_entropies(
            made, model, ids, mask, inputs["completion_ids"].shape[1])
    kept = inputs["completion_mask"].bool()
    assert torch.allclose(inputs["old_per_token_logps"][kept], again[kept], atol=1e-4)
    assert kept.sum() > 20


def test_rollouts_of_a_group_differ_and_visits_do_not_repeat(model: Any, tmp_path: Any) -> None:
    def completions(visit: int, made: PolicyTrainer) -> list[list[int]]:
        rows = [{"prompt": p.prompt, "problem": p.id, "visit": visit} for p in PROBLEMS[:2] for _ in range(4)]
        found: list[list[int]] = made._generate_and_score_completions(rows)["completion_ids"].tolist()
        return found

    made = trainer(model, tmp_path)
    first, second = completions(0, made), completions(1, made)
    assert len({tuple(ids) for ids in first[:4]}) > 1
    assert first != second
    assert completions(0, trainer(model, tmp_path)) == first


def test_training_moves_the_model_and_is_the_same_twice(tiny: Tiny, tmp_path: Any) -> None:
    def run() -> dict[str, Any]:
        model = policy(tiny, "deepseek_v3")
        trainer(model, tmp_path, max_steps=4).train()
        state: dict[str, Any] = model.state_dict()
        return state

    start = policy(tiny, "deepseek_v3").state_dict()
    first, second = run(), run()
    assert any(not torch.equal(start[name], first[name]) for name in start)
    assert all(torch.equal(first[name], second[name]) for name in first)


class OddProblemsTeach(RewardFunction):
    """1 or 0 by what was drawn where a problem's number is odd; every other problem gives 1."""

    def _score(self, problem: Problem, completion: Completion) -> tuple[Verdict, Reward]:
        odd = int(problem.id.rpartition("-")[2]) % 2
        return Verdict(Label.CORRECT), Reward(float(completion.tokens % 2) if odd else 1.0, {})


def test_groups_without_signal_give_way_to_others(model: Any, tmp_path: Any) -> None:
    reward = OddProblemsTeach({p.id: p for p in PROBLEMS}, Rubric(), TOKENIZER, "")
    reserve = [{"prompt": p.prompt, "problem": p.id, "visit": visit} for visit in (1, 2, 3) for p in PROBLEMS]
    dynamic = DynamicSampling(12, reserve, size=4)
    made = trainer(model, tmp_path, reward=reward, dynamic=dynamic)
    batch = inputs_of(made)
    assert dynamic.without >= 2  # problems of even numbers are among any four
    assert dynamic.drawn == 4 + dynamic.used
    buffered = made._buffered_inputs
    advantages = torch.cat([part["advantages"] for part in buffered])
    assert (advantages != 0).sum() == 16  # four whole groups, each with a gradient
    assert batch["num_items_in_batch"] == sum(part["completion_mask"].sum() for part in buffered)
    recorded, again = batch["old_per_token_logps"], GRPOTrainer._get_per_token_logps_and_entropies(
        made, model, torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
        torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1), batch["completion_ids"].shape[1])[0]
    kept = batch["completion_mask"].bool()
    assert torch.allclose(recorded[kept], again[kept], atol=1e-4)


def test_the_ungradable_leave_the_group_and_nothing_turns_nan(model: Any, tmp_path: Any) -> None:
    def reward(completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        return [None if place % 4 == 1 else float(place % 4) for place in range(len(completion_ids))]

    made = trainer(model, tmp_path, reward=reward)
    inputs = inputs_of(made)
    loss, gradients = loss_and_gradients(made._compute_loss, model, inputs)
    assert inputs["advantages"].isfinite().all()
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in gradients)


def encode(text: str) -> list[int]:
    ids: list[int] = TOKENIZER(text)["input_ids"]
    return ids


def test_equal_rewards_are_no_advantage_at_all(model: Any, tmp_path: Any) -> None:
    """1.2 is no binary fraction: the mean of four of them is not 1.2 again, and trl divides what is left by its deviation."""
    threes = {problem.id: Problem(problem.id, problem.prompt, "3", "math", "threes") for problem in PROBLEMS}
    reward = RewardFunction(threes, Rubric(rules={"format": 0.2}), TOKENIZER, "")
    said = [*encode("<think>So 3.</think><answer>3</answer>"), TOKENIZER.eos_token_id]
    totals = reward([said] * 6, [PROBLEMS[0].id] * 6)
    assert totals == pytest.approx([1.2] * 6, abs=1e-4)
    assert torch.tensor(totals).std() == 0
    made = trainer(model, tmp_path, reward=lambda completion_ids, **_: reward([said], [PROBLEMS[0].id]) * len(completion_ids))
    assert (inputs_of(made)["advantages"] == 0).all()


sizes = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=6)


@given(sizes, st.data())
def test_trim_takes_away_padding_alone(lengths: list[tuple[int, int]], data: st.DataObject) -> None:
    count = len(lengths)
    widest_prompt, widest = (max(pair[i] for pair in lengths) + data.draw(st.integers(0, 3)) for i in (0, 1))
    prompt_mask = torch.stack([torch.arange(widest_prompt) >= widest_prompt - p for p, _ in lengths]).long()
    mask = torch.stack([torch.arange(widest) < c for _, c in lengths]).long()
    inputs = {
        "prompt_mask": prompt_mask,
        "prompt_ids": torch.arange(count * widest_prompt).view(count, -1) * prompt_mask,
        "completion_mask": mask,
        "completion_ids": torch.arange(count * widest).view(count, -1) * mask,
        "old_per_token_logps": -torch.rand(count, widest) * mask,
        "advantages": torch.rand(count),
        "num_items_in_batch": torch.tensor(99.0),
        "none": None,
    }
    rows = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True)))
    trimmed = trim(inputs, rows)
    assert trimmed["num_items_in_batch"] == 99.0
    assert trimmed["none"] is None
    assert torch.equal(trimmed["advantages"], inputs["advantages"][rows])
    assert trimmed["prompt_mask"][:, 0].any()
    assert trimmed["completion_mask"][:, -1].any()
    for kind, masked in (("prompt", prompt_mask), ("completion", mask)):
        for place, row in enumerate(rows.tolist()):
            kept = inputs[f"{kind}_ids"][row][masked[row].bool()]
            assert torch.equal(trimmed[f"{kind}_ids"][place][trimmed[f"{kind}_mask"][place].bool()], kept)
        assert trimmed[f"{kind}_ids"].shape == trimmed[f"{kind}_mask"].shape
    assert trimmed["old_per_token_logps"].shape == trimmed["completion_ids"].shape
    assert trimmed["old_per_token_logps"].sum() == pytest.approx(float(inputs["old_per_token_logps"][rows].sum()), rel=1e-5)
