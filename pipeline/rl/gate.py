"""Before reinforcement: whether the model solves any of its problems now and then, without which there is nothing to
amplify."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.engine.types import Engine
from eval.language_model import Tokenizer
from eval.rollouts import Draws, collect
from pipeline.contract.errors import StageError
from pipeline.contract.stage import Context
from rewards.types import Problem


@dataclass(frozen=True)
class Gate:
    """`model` is what the recipe calls it; `at_least` the share of the problems that it has to solve in one of
    `draws`' tries."""

    ctx: Context
    model: str
    problems: Sequence[Problem]
    draws: Draws
    at_least: float

    def require(self, engine: Engine, tokenizer: Tokenizer) -> dict[str, float]:
        """pass@1 and pass@k of the problems. Raises StageError where too few are solved."""
        tries = self.draws.n
        rollouts = collect(engine, tokenizer, self.problems, self.draws)
        solved = {rollout.problem.id for rollout in rollouts if rollout.verdict.correct}
        once = len(solved) / len(self.problems)
        mean = sum(rollout.verdict.correct for rollout in rollouts) / len(rollouts)
        self.ctx.note(f"at the start: pass@1 {mean:.2f}, pass@{tries} {once:.2f} on its own prompts")
        if once < self.at_least:
            raise StageError(
                f"nothing to amplify: {self.model} solves {once:.0%} of its own prompts in {tries} tries "
                f"(at least {self.at_least:.0%} needed); train the base longer, or lower gate_at_least"
            )
        return {"pass@1": mean, f"pass@{tries}": once}
