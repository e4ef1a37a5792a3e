"""Training that is cut off and taken up again ends with the bits of training that was not."""

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval.answer_reader import AnswerReader
from eval.engine.types import Sampling
from eval.problems import load
from eval.prompts import PLAIN
from eval.protocol import EFFORTS
from pipeline.contract.checkpoints import MANIFEST, METRICS, Checkpoints, CheckpointSchedule
from pipeline.contract.errors import StageError, StageStopped
from pipeline.data.rows import Row
from pipeline.disk import durable
from pipeline.disk.hashes import file_hashes
from pipeline.distillation import lesson
from pipeline.models import audit, pretrained
from pipeline.models.lora import Lora, adapted, add
from pipeline.models.mtp import module
from pipeline.models.mtp.section import Mtp
from pipeline.models.tokenizer import train_tokenizer
from pipeline.moe.balance import Balance
from pipeline.rl.objectives.objective import Objective
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.curriculum import Asked, Curriculum, Difficulty
from pipeline.rl.rollouts.drawing import Visit
from pipeline.rl.rollouts.dynamic_sampling import DynamicSampling
from pipeline.rl.rollouts.reward_function import Graded, RewardFunction
from pipeline.rl.trainer import PolicyTrainer
from pipeline.training import supervised
from pipeline.training.fp8.section import Fp8
from pipeline.training.learning import Learning
from pipeline.training.mtp import learning
from pipeline.training.mtp.learning import MtpLearning
from pipeline.training.optimizer.schedule import Schedule
from pipeline.training.resumable import Resumable, _Saving, load_exactly
from pipeline.training.supervised import Plan, Probe, WeightedTrainer, _Watch, train
from rewards.rubric import Reward, Rubric
from rewards.types import Completion, Label, Problem, Verdict
from tests.pipeline.rl.test_trainer import arguments

Tiny = Callable[..., Any]
Context = Callable[..., Any]
PROBLEMS = load("word_problems:train", 6)
TOKENIZER = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in PROBLEMS], 96)


class PowerCut(Exception):
    pass


def checkpoints(folder: Path, every_steps: int | None, notes: list[str] | None = None) -> Checkpoints:
    schedule = CheckpointSchedule(every_seconds=None, every_steps=every_steps)
    return Checkpoints(
        folder / "checkpoints", folder / METRICS, {}, schedule, note=[].append if notes is None else notes.append
    )


def cut(monkeypatch: pytest.MonkeyPatch, at: int | None) -> None:
    """Training ends with PowerCut when it begins the step after `at`; None takes the cut away."""
    monkeypatch.undo()

    def cut_short(trainer: type[WeightedTrainer] | type[PolicyTrainer]) -> None:
        step = trainer.training_step

        def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self.state.global_step == at:
                raise PowerCut
            return step(self, *args, **kwargs)

        monkeypatch.setattr(trainer, "training_step", training_step)

    if at is not None:
        cut_short(WeightedTrainer)
        cut_short(PolicyTrainer)


def rows(count: int) -> list[Row]:
    generator = torch.Generator().manual_seed(3)
    lengths = [4 + 5 * (place % 4) for place in range(count)]
    return [
        {"input_ids": torch.randint(4, 48, (n,), generator=generator).tolist(), "weights": [1.0] * n} for n in lengths
    ]


def with_module(model: Any) -> dict[str, torch.Tensor]:
    """Everything that a training moves, with the MTP module that is beside a model."""
    beside = module.of(model)
    own = {f"mtp.{name}": value for name, value in beside.state_dict().items()} if beside else {}
    return {**model.state_dict(), **own}


def rarely(*values: object) -> Any:
    """A case that `make faults` tries, and `make test` leaves to others like it."""
    return pytest.param(*values, marks=pytest.mark.faults)


OTHERS = ("mixtral", "olmoe", "qwen2_moe", "qwen3_moe_every_second", "deepseek_v2", "gpt_oss", "dbrx", "jamba")


@pytest.mark.parametrize(("family", "changed", "at"), [
    # within the first log interval, between two, and in a further round of the probe's
    *(("deepseek_v3", {}, at) for at in (5, 23, 31)),
    *((family, {}, 23) for family in ("qwen3_moe", "qwen3", *OTHERS[:2])),
    *(rarely(family, {}, at) for family in ("qwen3_moe", "qwen3") for at in (5, 31)),
    ("qwen3_moe", {"lora": Lora(rank=4)}, 23),
    *(rarely(family, {"lora": Lora(rank=4)}, 23) for family in ("deepseek_v3", "qwen3")),
    *(rarely(family, {}, 23) for family in OTHERS[2:]),
    ("qwen3_moe", {"dtype": torch.bfloat16}, 23), rarely("qwen3", {"dtype": torch.bfloat16}, 23),
    *(("qwen3_moe", {"learning": {"optimizer": {"name": name}}}, 23) for name in ("adamw", "adafactor")),
    ("deepseek_v3", {"learning": {"micro_batch_tokens": 20, "gradient_checkpointing": True}}, 23),
    ("deepseek_v3", {"mtp": Mtp(late=0.2)}, 23),
    ("qwen3", {"fp8": Fp8(backward="e5m2", stochastic_rounding=True)}, 23),
    ("qwen3", {"learning": {"mixed_precision": True, "optimizer": {"name": "sgd", "momentum": 0.9}}}, 23),
    rarely("qwen3", {"compiled": True}, 23),
    rarely("qwen3_moe", {"compiled": True}, 23),
])
def test_supervised(
    tiny: Tiny, context: Context, monkeypatch: pytest.MonkeyPatch, family: str, changed: dict[str, Any], at: int
) -> None:
    def attempt(ctx: Any) -> tuple[dict[str, torch.Tensor], Any]:
        model, lora = tiny(family).train().to(changed.get("dtype", torch.float32)), changed.get("lora")
        rates = {"learning_rate": 0.01, **({} if "learning" in changed else {"adam_learning_rate": 1e-3})}
        learning = Learning.model_validate({**rates, **changed.get("learning", {})})
        plan = Plan(40, 4, learning, Schedule(24, more=8), mtp=changed.get("mtp"), fp8=changed.get("fp8"),
                    compiled=changed.get("compiled", False))
        torch.compiler.reset()  # as in another process, which compiles anew
        probe = Probe(lambda: {"skill": 0.1 if ctx.seen[-1][0] < 24 else 0.2}, 100, 0.15)  # one further round
        with adapted(model, lora, ctx, "base"):
            metrics = train(ctx, model, TOKENIZER, rows(160), plan, probe)
        return with_module(model), metrics

    whole = context()
    expected, metrics = attempt(whole)
    ctx = context()
    ctx.checkpoints = checkpoints(ctx.out, 4)
    cut(monkeypatch, at)
    with pytest.raises(PowerCut):
        attempt(ctx)
    cut(monkeypatch, None)
    again = context()
    again.checkpoints = checkpoints(ctx.out, None)
    found, metrics_again = attempt(again)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    kept = [row for row in ctx.rows if row["step"] <= at - at % 4]  # what the checkpoint's metrics.jsonl has
    assert [*kept, *again.rows] == whole.rows
    assert metrics_again == metrics
    assert metrics["steps"] == 32


class EveryThirdLength(RewardFunction):
    """1 for completions of 3, 6, 9, .. tokens, so that many groups have no signal."""

    def _score(self, problem: Problem, completion: Completion) -> Graded:
        right = completion.tokens % 3 == 0
        return Graded(completion, Verdict(Label.CORRECT if right else Label.WRONG), Reward(float(right), {}))


class Policy:
    """A GRPO training of 2 updates a buffer and 6 problems, so that step 6 begins a second epoch."""

    def __init__(
        self, tiny: Tiny, folder: Path, family: str, lora: Lora | None = None, dynamic: bool = False,
        curriculum: bool = False, effort: bool = False,
        dtype: torch.dtype = torch.float32, learning: dict[str, Any] | None = None, mtp: Mtp | None = None,
        **objective: Any
    ) -> None:
        model = tiny(family, vocab_size=len(TOKENIZER), initializer_range=0.15).train()
        with torch.no_grad():
            model.get_input_embeddings().weight[TOKENIZER.eos_token_id] *= 4
        model.to(dtype).save_pretrained(folder / "start")
        TOKENIZER.save_pretrained(folder / "start")
        self.model = pretrained.load(folder / "start")[0].train()
        grading = EveryThirdLength if dynamic or curriculum else RewardFunction
        self.reward = grading(
            {p.id: p for p in PROBLEMS}, Rubric(rules={"length": {"weight": 1.0, "most": 8}}), AnswerReader(TOKENIZER)
        )
        if lora:
            add(self.model, lora, seed=0)
        self.balance = Balance(self.model)
        visits = [Visit(p.prompt, p.id, visit) for visit in (0, 1) for p in PROBLEMS]
        how = PLAIN
        if effort:
            how = replace(PLAIN, thinking_budget=6, open_thinking=True)
            visits = [visit._replace(effort=one) for visit, one in zip(visits, cycle(EFFORTS), strict=False)]
            self.reward = RewardFunction.of(
                PROBLEMS, Rubric(rules={"effort": 1.0, "length": {"weight": 0.5, "most": 8}}), self.model, TOKENIZER,
                how, {"low": 2, "medium": 4, "high": 6}
            )
        plan = GrpoPlan(
            2, 4, 2, Sampling(20, 0.8), Objective(**objective), (0, "test"),
            Learning.model_validate({"learning_rate": 3e-3, **(learning or {})}),
            replay="rollout", prompting=how, mtp=mtp, speculate="mtp" if mtp else "off",
        )
        reserve = [visit._replace(visit=visit.visit + 2) for visit in visits]
        self.trainer = PolicyTrainer(
            self.model, TOKENIZER, arguments(folder, steps=8), plan, visits, self.reward, self.balance,
            DynamicSampling(2, reserve, size=4, scale="group") if dynamic else None,
        )
        if curriculum:
            problems = {p.id: Asked(p.prompt, "words") for p in PROBLEMS}
            self.trainer.rounds.curriculum = Curriculum(Difficulty(), problems, self.reward, 2, 4, 0)

    def train(self, at: Checkpoints) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
        self.trainer.train_with(at, balance=self.balance, reward=self.reward)
        log = [
            {
                k: v for k, v in row.items() if not k.startswith(("step_time", "train_"))
            } for row in self.trainer.state.log_history
        ]
        parts = [part.state() for part in self.trainer.rounds.parts.values()]
        return with_module(self.model), [*log, *parts]


@pytest.mark.parametrize(("family", "changed", "every", "at"), [
    # inside a buffer, on its edge, in the second epoch
    *(("qwen3_moe", {}, *when) for when in ((3, 4), (2, 4), (7, 7))),
    ("deepseek_v3", {}, 3, 4), *(rarely("deepseek_v3", {}, *when) for when in ((2, 4), (7, 7))),
    ("qwen3", {"beta": 0.1}, 3, 4), *(rarely("qwen3", {"beta": 0.1}, *when) for when in ((2, 4), (7, 7))),
    *(rarely(family, {"lora": Lora(rank=4)}, 3, 4) for family in ("deepseek_v3", "qwen3_moe")),
    ("qwen3_moe", {"lora": Lora(rank=4), "beta": 0.1}, 3, 4),
    ("qwen3_moe", {"name": "gspo"}, 3, 4),
    *(rarely(family, {}, 3, 4) for family in OTHERS),
    ("qwen3", {"dynamic": True}, 3, 4), rarely("qwen3", {"dynamic": True}, 2, 4),
    ("qwen3", {"curriculum": True}, 3, 4), rarely("qwen3", {"curriculum": True}, 2, 4),
    ("qwen3", {"entropy_bonus": 0.05}, 3, 4),
    ("qwen3_moe", {"dtype": torch.bfloat16}, 3, 4), rarely("qwen3", {"dtype": torch.bfloat16}, 3, 4),
    ("qwen3_moe", {"learning": {"micro_batch_tokens": 60, "gradient_checkpointing": True}}, 3, 4),
    ("qwen3", {"learning": {"optimizer": {"name": "muon"}, "schedule": {"shape": "wsd"}}}, 3, 4),
    ("deepseek_v3", {"mtp": Mtp(late=0.6)}, 3, 4), rarely("deepseek_v3", {"mtp": Mtp(late=0.6)}, 2, 4),
    rarely("qwen3", {"effort": True, "beta": 0.1}, 3, 4), ("qwen3_moe", {"effort": True}, 3, 4),
])
def test_grpo(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, changed: Any, every: int, at: int
) -> None:
    expected, log = Policy(tiny, tmp_path / "whole", family, **changed).train(checkpoints(tmp_path / "whole", None))
    folder = tmp_path / "cut"
    cut(monkeypatch, at)
    with pytest.raises(PowerCut):
        Policy(tiny, folder, family, **changed).train(checkpoints(folder, every))
    cut(monkeypatch, None)
    notes: list[str] = []
    found, log_again = Policy(tiny, folder, family, **changed).train(checkpoints(folder, None, notes))
    assert notes == [f"goes on from its checkpoint at step {at - at % every}"]
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert log_again == log
    if changed.get("dynamic"):
        assert log[-1]["used"] > 0
    if changed.get("curriculum"):
        assert sum(log[-1]["visits"].values()) == 8
    start = with_module(Policy(tiny, tmp_path / "other", family, **changed).model)
    assert any(not torch.equal(start[name], found[name]) for name in start)
    assert not changed.get("mtp") or not torch.equal(start["mtp.projection.weight"], found["mtp.projection.weight"])


def as_if_of_two(checkpoint: Path) -> None:
    """Deals the rollouts that a checkpoint holds to two processes."""
    states = torch.load(checkpoint / "states-0.pt", weights_only=True)
    for place in (0, 1):
        halves = [{name: value[place::2] for name, value in part.items()} for part in states["own"]["minibatches"]]
        own = {**states["own"], "minibatches": halves, "counts": [one / 2 for one in states["own"]["counts"]]}
        torch.save({**states, "own": own}, checkpoint / f"states-{place}.pt")
    manifest = durable.read_json(checkpoint / MANIFEST)
    facts, files = {"processes": 2}, file_hashes(checkpoint, MANIFEST)
    durable.write_json(checkpoint / MANIFEST, {**manifest, "facts": facts, "files": files})


@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe"])
def test_a_round_of_other_processes_is_gone_on_with(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    expected, _ = Policy(tiny, tmp_path / "whole", family).train(checkpoints(tmp_path / "whole", None))
    folder = tmp_path / "cut"
    cut(monkeypatch, 4)
    with pytest.raises(PowerCut):
        Policy(tiny, folder, family).train(checkpoints(folder, 3))
    cut(monkeypatch, None)
    as_if_of_two(folder / "checkpoints" / "step-3")
    with pytest.raises(StageError, match="was made with processes 2, now None"):
        Policy(tiny, folder, family).train(checkpoints(folder, None))
    notes: list[str] = []
    at = Checkpoints(folder / "checkpoints", folder / METRICS, {}, CheckpointSchedule(every_seconds=None),
                     note=notes.append, inexact=True)
    found, _ = Policy(tiny, folder, family).train(at)
    assert notes[0].startswith("goes on inexactly: step-3 was made with processes 2")
    for name, value in expected.items():
        assert torch.allclose(value, found[name], atol=1e-5), name  # the rows stand in another order


def test_what_was_on_a_device_that_is_not_here_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = torch.tensor(2.5)
    with monkeypatch.context() as there:
        there.setattr(torch.serialization, "location_tag", lambda _: "cuda:4")
        torch.save({"own": {}, "beside": {"watch": {"losses": [loss]}}}, tmp_path / "states-0.pt")
    trainer = Resumable.__new__(Resumable)
    trainer.args = SimpleNamespace(world_size=1, process_index=0)
    assert torch.equal(trainer._states(tmp_path)["beside"]["watch"]["losses"][0], loss)


@pytest.mark.parametrize("where", [supervised, learning, lesson])
def test_losses_that_come_back_lie_where_further_ones_will(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, where: Any
) -> None:
    plan = Plan(4, 2, Learning(), Schedule(4))
    loss = torch.tensor(2.5)
    part: Any
    if where is supervised:
        part = _Watch(None, None, plan, None, None, None)  # type: ignore[arg-type]
        part.losses, part.first = [loss], [loss]
    elif where is learning:
        part = MtpLearning(tiny("qwen3"), Mtp(), Learning(), "supervised", lambda _: 1.0, 4, 0)
        part._losses = [loss]
    else:
        part = lesson.Divergences()
        part._seen = loss
    state = copy.deepcopy(part.state())
    monkeypatch.setattr(where, "own_device", lambda: torch.device("meta"))  # in the place of a GPU
    part.restore(state)
    held = {supervised: lambda: [*part.losses, *part.first], learning: lambda: part._losses,
            lesson: lambda: [part._seen]}[where]()
    assert held
    assert all(one.is_meta for one in held)


def test_asked_to_stop_it_leaves_a_checkpoint_of_its_step(tiny: Tiny, tmp_path: Path) -> None:
    expected, _ = Policy(tiny, tmp_path / "whole", "qwen3").train(checkpoints(tmp_path / "whole", None))
    stopped = checkpoints(tmp_path, None)

    class Asks(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            stopped.stopping = state.global_step == 2

    policy = Policy(tiny, tmp_path, "qwen3")
    policy.trainer.add_callback(Asks())
    with pytest.raises(StageStopped, match="step 3"):
        policy.train(stopped)
    notes: list[str] = []
    found, _ = Policy(tiny, tmp_path, "qwen3").train(checkpoints(tmp_path, None, notes))
    assert notes == ["goes on from its checkpoint at step 3"]
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_processes_that_write_no_checkpoint_do_not_ask_for_one(tmp_path: Path) -> None:
    def asked(first: bool) -> bool:
        state, control = TrainerState(global_step=1, is_world_process_zero=first), TrainerControl()
        _Saving(checkpoints(tmp_path, 1)).on_step_end(arguments(tmp_path), state, control)
        return control.should_save

    # Their clocks know of none that was written, and would ask for one after each step.
    assert [asked(True), asked(False)] == [True, False]


@pytest.mark.parametrize("family", ["deepseek_v3", "qwen3_moe", "mixtral"])
def test_transformers_still_leaves_fused_experts_as_they_are(tiny: Tiny, tmp_path: Path, family: str) -> None:
    """transformers #48805. When this fails it is fixed, and Resumable._load_from_checkpoint can go."""
    model = tiny(family)
    model.save_pretrained(tmp_path)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    experts = [name for name in expected if ".experts." in name]
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    Trainer._load_from_checkpoint(Trainer(model, arguments), str(tmp_path))
    assert not any(torch.equal(model.state_dict()[name], expected[name]) for name in experts)
    with pytest.raises(StageError, match=r"experts\.\w+ differs in"):
        audit.check(model, tmp_path, "test")
    load_exactly(model, str(tmp_path))
    assert all(torch.equal(model.state_dict()[name], expected[name]) for name in expected)
    assert issubclass(PolicyTrainer, Resumable)
