"""The stage contract: a validated config that turns earlier artifacts into a new one."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, model_validator

from eval.language_model import Tokenizer
from eval.protocol import Prompting
from pipeline.contract.checkpoints import Checkpoints
from pipeline.contract.fields import ArtifactType
from pipeline.contract.room import Room
from pipeline.contract.work import Work
from pipeline.disk.durable import JsonMapping, JsonObject

Metrics = JsonMapping


class Asks(NamedTuple):
    """Problems that a stage loads, and whether a model learns from them, is measured on them, or is shown them as
    worked examples."""

    reference: str
    n: int | None
    seed: int
    purpose: Literal["train", "test", "shown"]


def stage_seed(seed: int, name: str) -> int:
    """Seed of a stage's random streams, below 2**31: two stages of one recipe never share a stream."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1


class Context(Protocol):
    """What a running stage is given. `out` is a private folder that becomes the artifact when `run` returns."""

    seed: int  # of this stage: made from the recipe's seed and the stage's name
    out: Path
    name: str
    cache: Path  # a folder for what can be made again at any time, shared by all stages; `retort clean` empties it
    checkpoints: Checkpoints  # for stages that can go on inside; others begin again

    def path(self, reference: str) -> Path:
        """Folder of the artifact that an input field names (for a hub id: its local snapshot)."""
        ...

    def label(self, reference: str) -> str:
        """Short name to show for an input: the stage's name, or the hub id or path as written."""
        ...

    def progress(self, done: float, total: float, **figures: float | str) -> None:
        """Tell the display how far the stage is and its figures of the moment (reward, loss, ...)."""
        ...

    def log(self, row: JsonMapping) -> None:
        """Append one row to the stage's metrics.jsonl."""
        ...

    def keep_rollouts(self, step: int, rows: Sequence[JsonMapping]) -> None:
        """Keep a step's rollouts beside the artifact, to be looked at. `pipeline/results/viewer/shape.py` has the keys
        of a row that are shown; a problem and a text are enough."""
        ...

    def note(self, text: str) -> None:
        """One plain line for the person who watches: a warning, or why a stage ended early."""
        ...


class Known(Protocol):
    """What is known of a stage's inputs before the run. Each is None where it is not known: of what an earlier stage
    makes from nothing, and of what lies on the hub."""

    def path(self, reference: str) -> Path | None:
        """Where an input lies that was given."""
        ...

    def config(self, reference: str) -> JsonObject | None:
        """The fields of a model's transformers config."""
        ...

    def tokenizer(self, reference: str) -> Tokenizer | None: ...


class Stage(BaseModel):
    """One step of a recipe. Subclasses add their own fields and say what they make.

    The config is the whole description of the step: two equal configs with equal inputs and seed have the
    same fingerprint and therefore the same artifact.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    makes: ClassVar[ArtifactType]
    distributed: ClassVar[bool] = False
    """Whether the stage is for several processes, where the recipe has an `accelerate` config; others run in one."""
    # Loaded once in the process that stages are forked from, which saves each of them these seconds.
    preload: ClassVar[tuple[str, ...]] = (
        "torch", "datasets", "peft", "transformers.trainer", "transformers.models.auto.modeling_auto",
        "trl.trainer.sft_trainer",
    )

    threads: int = Field(
        default=1, ge=1, le=256,
        description="CPU threads of the stage; part of the result, since sums are split by thread"
    )

    _folder: Path | None = PrivateAttr(default=None)  # the recipe's: plug-ins given as files are found from there

    @model_validator(mode="after")
    def _remember_folder(self, info: ValidationInfo) -> "Stage":
        # A stage that is made in code has no recipe, and then paths start from the current folder.
        if info.context and info.context.get("base"):
            self._folder = Path(info.context["base"])
        return self

    def asks(self, seed: int) -> Sequence[Asks]:
        """The problem sets that the stage will load, so that training and test problems can be held against each other
        before the run. `seed` is the stage's. A stage of your own that asks problems says so here; by default there are
        none."""
        return []

    def room(self) -> Room | None:
        """How the stage asks its problems, so that prompts and answers can be held against the models' context before
        the run. By default nothing is asked."""
        return None

    def puts_rows(self) -> Prompting | None:
        """How the stage puts rows of its datasets to the model of `made_of`, so that the first of them can be tried
        before the run; None where it trains on none."""
        return None

    def longest_row(self) -> int | None:
        """The most tokens of a row that the stage trains the model of `made_of` on; None where it takes the model's
        context, or is to go beyond it."""
        return None

    def made_of(self) -> str | None:
        """The input reference of the model that the stage's own model is trained from; None where it makes none, or one
        from nothing."""
        return None

    def context_of_made(self, context: int | None) -> int | None:
        """The tokens of context that the stage's model has, where the one that it is made of has `context`. None is
        unknown, or no limit."""
        return context

    def config_of_made(self, config: JsonObject) -> JsonObject:
        """The fields of the transformers config of the stage's model, where the one that it is made of has `config`
        (empty where it is made of none). Raises StageError where no such model can be made."""
        return config

    def check_inputs(self, known: Known) -> None:
        """Raises StageError where the stage would fail on its inputs, as far as they are known before the run. By
        default nothing is looked at."""

    def work(self) -> Work | None:
        """What the stage computes, for `retort plan --on`. None is not known, which a stage of your own may leave it
        at."""
        return None

    @abstractmethod
    def run(self, ctx: Context) -> Metrics:
        """Do the work, write the artifact under `ctx.out` and return the metrics for stage.json."""
