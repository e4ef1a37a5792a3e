"""What a GRPO training tells while it runs: a row a step for metrics.jsonl, and the figures of the display."""

from collections.abc import Mapping

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pipeline.contract.stage import Context
from pipeline.disk.durable import JsonObject
from pipeline.moe.balance import Balance
from pipeline.rl.rollouts.reward_function import RewardFunction
from pipeline.rl.rounds import Part
from pipeline.training.mtp.beside import MtpBeside


class RoundLog(TrainerCallback):
    """Logs a row for each of `steps` rounds of rollouts, with `updates` optimizer steps each; moves routers' biases.
    `last` are the figures of the last round, those of the display."""

    def __init__(self, ctx: Context, steps: int, updates: int, balance: Balance) -> None:
        self.ctx, self.steps, self.updates, self.balance = ctx, steps, updates, balance
        self.last: dict[str, float] = {}

    def state(self) -> JsonObject:
        return {"last": self.last}

    def restore(self, state: JsonObject) -> None:
        self.last = state["last"]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        # After the optimizer's step, by the load of the tokens that it was made on.
        self.balance.step()
        for warning in self.balance.watch.warnings():
            self.ctx.note(warning)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        logs: dict[str, float] | None = None, **kwargs: object
    ) -> None:
        if not logs or "reward" not in logs:
            return  # a further update on rollouts that were told of already
        self.last = self.shown(logs)
        for warning in self.warnings():
            self.ctx.note(warning)
        step = (state.global_step - 1) // self.updates + 1
        self.ctx.log({
            "step": step, **self.last, **self.counted(logs), "gradient_norm": logs.get("grad_norm"),
            **self.balance.watch.figures(), **self.beside(),
        })
        self.ctx.progress(state.global_step, self.steps * self.updates, **self.last, **self.balance.watch.shown())

    def shown(self, logs: Mapping[str, float]) -> dict[str, float]:
        """What the display shows of a round."""
        return {name: logs[name] for name in ("divergence", "length", "entropy")}

    def counted(self, logs: Mapping[str, float]) -> dict[str, float]:
        """What a row has of the round's rollouts besides."""
        return {}

    def beside(self) -> dict[str, float]:
        """What a row has of parts of the training."""
        return {}

    def warnings(self) -> list[str]:
        return []


class Watch(RoundLog):
    """Tells of rewards, too."""

    def __init__(self, ctx: Context, steps: int, updates: int, reward: RewardFunction, balance: Balance) -> None:
        super().__init__(ctx, steps, updates, balance)
        self.reward = reward
        self.parts: list[Part | MtpBeside] = []

    def shown(self, logs: Mapping[str, float]) -> dict[str, float]:
        return {
            "reward": logs["reward"],
            "accuracy": self.reward.parts.get("correct", 0.0),
            "length": logs["length"],
            "entropy": logs["entropy"],
            **({"divergence": logs["divergence"]} if "divergence" in logs else {}),  # from a teacher
        }

    def counted(self, logs: Mapping[str, float]) -> dict[str, float]:
        return {
            **{f"reward/{name}": value for name, value in self.reward.parts.items()},
            **self.reward.scales.figures(),
            **{f"verdict/{name}": value for name, value in self.reward.verdicts.items()},
            **self.reward.by_effort,
            **{name: logs[name] for name in ("thinking_cut", "calls") if name in logs},
            "groups_without_signal": logs["groups_without_signal"],
        }

    def beside(self) -> dict[str, float]:
        return {name: value for part in self.parts for name, value in part.figures().items()}

    def warnings(self) -> list[str]:
        return self.reward.scales.notes()
