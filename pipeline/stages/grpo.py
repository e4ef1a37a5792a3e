"""`grpo`: reinforcement on verifiable problems with rule-based rewards. The step itself is in `rl/trainer.py`."""

import random
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from itertools import cycle
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.contract import processes
from pipeline.contract.effort import EffortBudgets
from pipeline.contract.errors import StageError
from pipeline.contract.fields import ArtifactType, ModelInput, NotInFingerprint, PlugIn
from pipeline.contract.numbers import (
    MOST_ROWS,
    Batch,
    Probability,
    Problems,
    Steps,
    Temperature,
    Tokens,
    require_rounds,
    require_rows,
)
from pipeline.contract.processes import own
from pipeline.contract.prompt import AskingPrompt
from pipeline.contract.room import Room, require_room
from pipeline.contract.stage import Asks, Context, Metrics, Stage
from pipeline.contract.tools import Tools, having_tools, require_fitting
from pipeline.contract.work import Drawn, Trained, Work
from pipeline.distillation.sections import WeighedTeacher
from pipeline.models.lora import Lora
from pipeline.models.mtp.section import MtpSection
from pipeline.moe.balancing import BalanceSection, Balancing
from pipeline.rl.objectives.section import Minimized
from pipeline.rl.rollouts.curriculum import Asked, Curriculum, Difficulty
from pipeline.serving.section import FOR_ONE, Engines, missing
from pipeline.training.learning import Learning
from rewards.lazy import lazy
from rewards.rubric import Rubric
from rewards.types import Problem

with lazy:
    import torch

    from eval.engine import engine_for
    from eval.engine.types import Sampling
    from eval.language_model import LanguageModel, Tokenizer
    from eval.problems import load_sets
    from eval.prompts import encode_prompts, question_text, settled
    from eval.protocol import Prompting
    from eval.rollouts import Draws
    from pipeline.distillation.guide import Guide
    from pipeline.distillation.teachers import Teachers, words_of
    from pipeline.models import lora, pretrained
    from pipeline.models.mtp import module
    from pipeline.models.origin import from_scratch
    from pipeline.moe.balance import Balance
    from pipeline.rl.gate import Gate
    from pipeline.rl.plan import GrpoPlan, arguments_of
    from pipeline.rl.rollouts.drawing import Visit, visits_of
    from pipeline.rl.rollouts.dynamic_sampling import DynamicSampling
    from pipeline.rl.rollouts.keeping import Keeping
    from pipeline.rl.rollouts.reward_function import RewardFunction
    from pipeline.rl.trainer import PolicyTrainer
    from pipeline.rl.watch import Watch
    from pipeline.serving.served import OnDemand, Served, folder_of, served
    from pipeline.serving.speculation import drafter_of, told
    from pipeline.training.placement import placed

ProblemSets = Annotated[list[str], PlugIn("problem set")]

GATED = 32
"""Problems that the gate asks, of those that come first."""


class Grpo(Engines, Learning, Minimized, Stage):
    """Group-relative policy optimization (Shao et al. 2024, arXiv 2402.03300; DeepSeek-R1, arXiv 2501.12948).

    A step samples `group_size` rollouts of each of `prompts_per_step` problems, rewards them by the rubric, and makes
    `updates_per_step` optimizer steps on them. There is no value model and, with `beta` 0, no reference model. Before
    any step, `gate` rollouts a problem are drawn on a few of the stage's own prompts: where hardly any problem is ever
    solved, there is nothing to amplify, and the stage says so.
    """

    kind: ClassVar[str] = "grpo"
    version: ClassVar[int] = 18
    makes: ClassVar[ArtifactType] = "model"
    distributed: ClassVar[bool] = True

    model: ModelInput = Field(description="the model to train")
    problems: ProblemSets = Field(min_length=1, description="problem sets to train on, name:split")
    problems_each: Problems = Field(default=512, description="problems of each set")
    reward: Rubric = Field(
        default_factory=lambda: Rubric(rules={"format": 0.2}), description="what a completion is rewarded for"
    )
    steps: Steps = Field(description="rounds of rollouts")
    prompts_per_step: Batch = Field(default=16, description="problems of a round")
    group_size: int = Field(
        default=16, ge=2, le=100_000, description="rollouts of each problem, held against each other"
    )
    updates_per_step: int = Field(
        default=2, ge=1, le=1000, description="optimizer steps that a round's rollouts are split into"
    )
    teacher: WeighedTeacher | None = Field(
        default=None, description="a model of the same tokenizer whose distributions are learned beside the rewards"
    )
    temperature: Temperature = Field(
        default=1.0, gt=0, description="what logits are divided by before a token is drawn"
    )
    max_completion_tokens: Tokens = Field(default=64, description="longest completion")
    prompt: AskingPrompt = Field(default=AskingPrompt(), description="how questions are put to the model")
    effort: EffortBudgets | None = Field(
        default=None, description="ask with low, medium and high effort in turn, and have the rule `effort` fall where "
                                  "thinking takes more tokens than these"
    )
    thinking_budget: Tokens | None = Field(
        default=None, description="tokens of thinking after which it is closed by force; the forced tokens are not "
                                  "learned"
    )
    tools: Tools | None = Field(
        default=None, description="tools that the model may call while it answers; what they say is not learned"
    )
    beyond_context: bool = Field(
        default=False, description="ask also where prompt and answer do not fit in the model's context"
    )
    gate: int = Field(default=16, ge=0, le=10_000, description="rollouts a problem before training; 0 skips the check")
    gate_at_least: Probability = Field(default=0.2, description="least share of problems solved once in them")
    dynamic_sampling: int = Field(
        default=0, ge=0, le=100,
        description="times in a step that groups without signal give way to other problems (DAPO, arXiv 2503.14476)"
    )
    curriculum: Difficulty | None = Field(
        default=None, description="ask problems by how often they are solved now; left out, each in its turn"
    )
    balance: BalanceSection = Balancing()
    replay: Literal["rollout", "policy", "off"] | None = Field(
        default=None,
        description="whose experts training takes: the rollouts' (R3, the default), the old policy's (R2, the default "
                    "with vLLM), or the router's"
    )
    staleness: Literal[0, 1] = Field(
        default=0, description="1 has a server draw a round while the one before is trained on"
    )
    rollout_dtype: Literal["float32", "bfloat16"] | None = Field(
        default=None, description="precision of rollouts; the policy's, or a server's own, where left out"
    )
    lora: Lora | None = Field(default=None, description="train adapters alone, and merge them at the end")
    mtp: MtpSection = None
    keep_rollouts: Annotated[int, NotInFingerprint()] = Field(
        default=1, ge=0, le=MOST_ROWS,
        description="keep the rollouts of every so many steps, for retort look and the report; 0 keeps none"
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> "Grpo":
        batch, problems = self.prompts_per_step * self.group_size, self.problems_each * len(self.problems)
        require_rounds(self.prompts_per_step, self.group_size, self.updates_per_step, problems)
        require_rows(self.steps * (1 + self.dynamic_sampling) * batch, "steps, prompts_per_step and group_size")
        if self.curriculum and self.dynamic_sampling:
            raise ValueError("dynamic_sampling has an order of problems of its own: leave it or curriculum out")
        if self.curriculum and self.effort:
            raise ValueError("curriculum chooses problems as it goes, and effort asks them in turn: leave one out")
        if self.curriculum and not self.reward.correct:
            raise ValueError("curriculum goes by how often problems are solved, which counts nothing here: give "
                             "reward.correct a weight, or leave it out")
        if not self.reward.correct and not any(self.reward.weights().values()) and not self.teacher:
            raise ValueError("reward: nothing has a weight, so that nothing is learned; give correct or a rule one")
        if self.lora:
            self.require_fits_adapters()
        if self.beta and self.balance.capacity:
            raise ValueError("balance.capacity leaves choices of experts out while the policy learns, and the "
                             "reference that beta holds it to has all of them: leave one out")
        if self.lora and self.rollout_dtype:
            raise ValueError("rollout_dtype is for full weights; leave it or lora out")
        if self.lora and self.mtp:
            raise ValueError("mtp trains a module beside the whole model: leave it or lora out")
        return self

    @model_validator(mode="after")
    def _check_effort(self) -> "Grpo":
        if self.effort:
            self.prompt.require_no_effort("effort")
            if "effort" not in self.reward.rules and all(one.origin == "built-in" for one in self.reward.plug_ins()):
                raise ValueError("effort changes nothing where no rule looks at it: add one to reward.rules, such as "
                                 "{effort: 1.0}, or a rule of your own")
        elif "effort" in self.reward.rules:
            raise ValueError("the rule effort holds thinking against budgets: give them, such as effort: {low: 64, "
                             "medium: 256, high: 1024}")
        if self.thinking_budget and self.thinking_budget >= self.max_completion_tokens:
            raise ValueError(f"thinking_budget {self.thinking_budget} leaves nothing of max_completion_tokens "
                             f"{self.max_completion_tokens} for the answer")
        if (self.thinking_budget or self.tools) and self.engine == "vllm":
            raise ValueError("thinking_budget and tools are for engine: native")
        require_fitting(self.tools, self.prompt, self.thinking_budget)
        return self

    @model_validator(mode="after")
    def _check_engine(self) -> "Grpo":
        if self.staleness and not self._by_server:
            raise ValueError("staleness: 1 is for a server, which draws while this process trains: engine: vllm with a "
                             "url, or python and devices of its own")
        if self.staleness and self.dynamic_sampling:
            raise ValueError("dynamic_sampling draws until a round is full, and is for staleness: 0")
        if self.speculate == "mtp" and self.rollout_dtype:
            raise ValueError("the MTP module is in the policy's precision: leave rollout_dtype out, or speculate")
        if self.speculate != "off" and self.lora:
            raise ValueError("rollouts of adapters are drawn without drafts: leave speculate or lora out")
        if self.engine == "native":
            return self
        if self.replay == "rollout" and not self.vllm.served:
            raise ValueError("vLLM in the training's processes does not tell which experts it took: replay: policy")
        if self.rollout_dtype and not self.vllm.python:
            raise ValueError("rollout_dtype is for a server that the stage starts; leave it out")
        if not self.vllm.served and (reason := missing()):
            raise ValueError(reason)
        return self

    def asks(self, seed: int) -> list[Asks]:
        return [Asks(reference, self.problems_each, seed, "train") for reference in self.problems]

    def room(self) -> Room:
        models = [self.model, *([self.teacher.model] if self.teacher else [])]
        return Room(models, self._prompting(), self.max_completion_tokens, self.beyond_context)

    def made_of(self) -> str:
        return self.model

    def work(self) -> Work:
        asked = Drawn(self.model, self.gate, self.max_completion_tokens, prompts=GATED, vllm=self.by_vllm,
                      speculate=self.speculate)
        drawn = Drawn(self.model, self.group_size, self.max_completion_tokens, self.prompts_per_step, self.steps,
                      self.rollout_dtype, self.by_vllm, trained=True, speculate=self.speculate,
                      dynamic=self.dynamic_sampling > 0)
        batch = self.prompts_per_step * self.group_size // self.updates_per_step
        trained = Trained(
            self.model, batch, self.steps * self.updates_per_step, learning=self.learning(),
            adapters=self.lora.model_dump() if self.lora else None, reference=self.beta > 0,
            teacher=self.teacher.model if self.teacher else None, mtp="beside" if self.mtp else None,
        )
        return Work([trained], [drawn, asked] if self.gate and self.reward.correct else [drawn])

    def run(self, ctx: Context) -> Metrics:
        model, tokenizer = pretrained.take(ctx, self.model, self.dtype)
        if self.mtp:
            module.begin(model, ctx.seed)  # a copy of the model's last layer, which has no hooks as yet
        elif module.of(model):
            ctx.note(module.UNTRAINED)
        sets = load_sets(self.problems, self.problems_each, ctx.seed, base=self._folder)
        problems = [problem for group in zip(*sets, strict=True) for problem in group]
        random.Random(f"grpo:{ctx.seed}").shuffle(problems)
        self.reward.require(problems)
        prompts = encode_prompts(tokenizer, problems, self._prompting())
        require_room(prompts, self.room(), pretrained.trained_context(model), self.model)
        if self.teacher:
            require_room(prompts, self.room(), pretrained.context_of(ctx.path(self.teacher.model)), self.teacher.model)

        how = settled(tokenizer, self._prompting())
        rounds = self.steps * (1 + self.dynamic_sampling)
        visits = self._with_efforts(visits_of(problems, how, f"grpo:{ctx.seed}", rounds * self.prompts_per_step))
        # visits after these are what dynamic sampling may put in their place
        planned = self.steps * self.prompts_per_step
        dynamic = DynamicSampling(
            self.dynamic_sampling, own(visits[planned:]), self.group_size,
            self.minimized(self.max_completion_tokens).scale
        ) if self.dynamic_sampling else None
        with ExitStack() as inside:
            server = inside.enter_context(self._served(ctx, model, tokenizer)) if self._by_server else None
            before = self._gate(ctx, model, tokenizer, problems, server)
            reward = inside.enter_context(RewardFunction.of(
                problems, self.reward, model, tokenizer, how, self.effort.budgets() if self.effort else {},
                self.group_size
            ))
            inside.enter_context(lora.adapted(model, self.lora, ctx, self.model))
            balance = Balance(model, self.balance)
            watch = Watch(ctx, self.steps, self.updates_per_step, reward, balance)
            plan = replace(self._plan(ctx, how), served=server)
            arguments = arguments_of(ctx, self, self.steps * self.updates_per_step)
            trainer = PolicyTrainer(
                model, tokenizer, arguments, plan, visits[:planned], reward, balance, dynamic
            )
            trainer.add_callback(watch)
            if not from_scratch(model):
                ctx.note(f"trains by {trainer.choice}")
            if self.curriculum:
                trainer.rounds.curriculum = self._curriculum(self.curriculum, sets, how, reward, ctx.seed)
            self._add_parts(ctx, trainer, tokenizer, watch)
            trainer.train_with(ctx.checkpoints, reward=reward, balance=balance, watch=watch)
            balance.remove()
            if said := told(trainer.rounds.drawing.engine):
                ctx.note(said)
        pretrained.save(model, tokenizer, ctx.out, ctx.path(self.model) if self.lora else None)
        return {
            "parameters": pretrained.parameters(model),
            "steps": self.steps,
            "tokens": int(trainer.state.num_input_tokens_seen),
            **{f"before/{name}": value for name, value in before.items()},
            **watch.last,
            **(trainer.mtp.figures() if trainer.mtp else {}),
            **balance.watch.summary(),
        }

    def _prompting(self) -> "Prompting":
        """How questions are put; where they are asked with several efforts, with the highest."""
        how = having_tools(self.prompt.prompting(thinking_budget=self.thinking_budget), self.tools, self._folder)
        return how.asking("high" if self.effort else None)

    def _add_parts(self, ctx: Context, trainer: "PolicyTrainer", tokenizer: "Tokenizer", watch: "Watch") -> None:
        """What goes along with a training, where it is asked for, and what of it the log is to tell."""
        if self.teacher:
            trainer.rounds.teacher = self._guide(ctx, trainer.policy, tokenizer, trainer)
        if self.keep_rollouts:
            trainer.rounds.keeping = Keeping(
                ctx, tokenizer, watch.reward, trainer.balance.routers, self.group_size, self.keep_rollouts,
                tools=self.tools is not None
            )
        watch.parts = [*trainer.rounds.parts.values(), *([trainer.mtp] if trainer.mtp else [])]

    def _guide(
        self, ctx: Context, model: "LanguageModel", tokenizer: "Tokenizer", trainer: "PolicyTrainer"
    ) -> "Guide":
        assert self.teacher
        references = [self.teacher.model]
        words = words_of(ctx, references, model, tokenizer, self.teacher.top_k)
        teachers = Teachers.of(ctx, references, tokenizer, words, self.temperature)
        return Guide(teachers.to(trainer.accelerator.device), self.teacher.weight, trainer.rounds.scoring)

    @property
    def _by_server(self) -> bool:
        return self.engine == "vllm" and self.vllm.served

    def _gate(
        self, ctx: Context, model: "LanguageModel", tokenizer: "Tokenizer", problems: list[Problem],
        server: "Served | None",
    ) -> dict[str, float]:
        # Where verdicts count nothing, they say nothing about what there is to amplify.
        if not self.gate or not self.reward.correct:
            return {}
        sampling = Sampling(self.max_completion_tokens, self.temperature)
        draws = Draws(self.gate, sampling, (ctx.seed, ctx.name, "gate"), self._prompting(),
                      pretrained.context_length(model))
        asked = Gate(ctx, self.model, problems[:GATED], draws, self.gate_at_least)
        if server is None:
            with placed(model):
                drafter = drafter_of(model, self.speculate)
                return asked.require(engine_for(model, tokenizer, drafter=drafter), tokenizer)
        # Others wait in the trainer for the one that asks the server, which answers nobody twice alike.
        return asked.require(OnDemand(lambda: server, self.vllm), tokenizer) if processes.is_first() else {}

    def _served(
        self, ctx: Context, model: "LanguageModel", tokenizer: "Tokenizer"
    ) -> "AbstractContextManager[Served]":
        if self.vllm.python and processes.count() > 1:
            raise StageError(f"vllm.{FOR_ONE}")
        experts = self._replay == "rollout"
        return served(model, tokenizer, self.vllm, folder_of(ctx), self.rollout_dtype, experts)

    @property
    def _replay(self) -> Literal["rollout", "policy"] | None:
        if self.replay is None:
            return "policy" if self.engine == "vllm" else "rollout"
        return None if self.replay == "off" else self.replay

    def _with_efforts(self, visits: "list[Visit]") -> "list[Visit]":
        """In turn, so that each round has as many of one as of another."""
        if not self.effort:
            return visits
        turns = cycle(self.effort.budgets())
        return [visit._replace(effort=effort) for visit, effort in zip(visits, turns, strict=False)]

    def _curriculum(
        self, difficulty: Difficulty, sets: list[list[Problem]], how: "Prompting", reward: "RewardFunction", seed: int
    ) -> Curriculum:
        asked = {problem.id: Asked(question_text(problem, how), reference)
                 for reference, problems in zip(self.problems, sets, strict=True) for problem in problems}
        return Curriculum(difficulty, asked, reward, self.prompts_per_step, self.steps, seed)

    def _plan(self, ctx: Context, how: "Prompting") -> "GrpoPlan":
        return GrpoPlan(
            prompts=self.prompts_per_step,
            group_size=self.group_size,
            updates=self.updates_per_step,
            sampling=Sampling(self.max_completion_tokens, self.temperature, stop=tuple(self.prompt.stop)),
            learning=self,
            objective=self.minimized(self.max_completion_tokens),
            seed_parts=(ctx.seed, ctx.name),
            # the instruction stands in the visits already, each problem's own
            prompting=replace(how, instruction=None),
            replay=self._replay,
            rollout_dtype=getattr(torch, self.rollout_dtype) if self.rollout_dtype else None,
            vllm=self.vllm if self.engine == "vllm" else None,
            staleness=self.staleness,
            capped=bool(self.balance.capacity),
            speculate=self.speculate,
            mtp=self.mtp,
        )
