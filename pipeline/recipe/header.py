"""The top level of a recipe file, and which names recipes, runs and stages may have."""

import re
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from pipeline.contract.checkpoints import CheckpointSchedule
from pipeline.disk.durable import JsonObject


def is_name(text: str) -> bool:
    """Whether a recipe or a run may have this name."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.=,+-]{0,99}", text) is not None and text != "artifacts"


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{text[:60]!r} cannot name a run: use up to 100 letters, digits and . _ = , + -")
    return text


STAGE_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,59}"
"""What names a stage."""


def _stage_name(text: str) -> str:
    if not re.fullmatch(STAGE_NAME, text):
        raise ValueError(f"{text[:60]!r} cannot name a stage: use up to 60 letters, digits, _ and -, a letter first")
    return text


TrackerName = Literal["trackio", "wandb", "tensorboard"]
"""Trackers, called as the package and the extra of ours that bring them."""


def _installed(name: str) -> str:
    if find_spec(name) is None:
        raise ValueError(f"{name} is not installed; pip install 'retort[{name}]' brings it")
    return name


def _several(given: object) -> object:
    return [given] if isinstance(given, str) else given


class Header(BaseModel):
    """The top level of a recipe file. `parallel` counts CPU slots; `accelerate` is a config for `accelerate launch`.

    `checkpoints` says when stages that can go on inside leave a checkpoint; it changes no result. Below the level
    `sandbox_at_least` (see SECURITY.md) no model-written program is run, and the recipe neither. `leaks` says whether
    test problems that are found in the training data stop the run or are told. `shrink` runs the same stages with tiny
    models and small budgets (`pipeline.recipe.shrink`). `report_to` names trackers that are told what stages log
    (`pipeline.run.tracking`); a single one may stand without a list.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(_name)] = Field(
        description="what the run is called; the file's name where it is left out"
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="what all random numbers of the run are made from")
    parallel: int = Field(
        default=1, ge=1, le=1024,
        description="CPU slots; a stage takes `threads` of them, and stages that fit run at once"
    )
    accelerate: str | None = Field(
        default=None, description="config for `accelerate launch`, a path seen from the recipe, for several processes"
    )
    sandbox_at_least: Literal["L1", "L2", "L3", "L4"] = Field(
        default="L1", description="run nothing where model-written programs are isolated less than this (SECURITY.md)"
    )
    checkpoints: CheckpointSchedule = Field(
        default=CheckpointSchedule(), description="when stages leave checkpoints to go on from; changes no result"
    )
    leaks: Literal["stop", "tell"] = Field(
        default="stop", description="what to do where a test problem is found in the training data: stop, or tell of it"
    )
    shrink: bool = Field(
        default=False, description="run the same stages with tiny models and small budgets, to see that all works"
    )
    report_to: Annotated[list[Annotated[TrackerName, AfterValidator(_installed)]], BeforeValidator(_several)] = Field(
        default=[], description="trackers that are told what stages log: trackio, wandb, tensorboard"
    )
    stages: dict[Annotated[str, AfterValidator(_stage_name)], JsonObject] = Field(
        min_length=1, description="the stages by name, in order; a stage may name those before it"
    )


SETTINGS = tuple(name for name in Header.model_fields if name != "stages")
"""Fields of the top level that `--set` takes by their name."""

CHANGES_NOTHING = frozenset(SETTINGS) - {"seed", "accelerate", "shrink"}
"""Fields of the top level that change no artifact: a run with others of them is the same run."""
