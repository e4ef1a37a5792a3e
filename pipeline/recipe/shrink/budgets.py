"""`shrink: true`: a recipe as it is written, at the size of a laptop. Its stages, their order and what they hand on are
the recipe's; budgets are cut, and each model that is given becomes a tiny one of its family with random weights.

Nothing is learned. What is seen is that every stage starts, reads what the one before it made, and ends.
"""

import math
from collections.abc import Mapping
from pathlib import Path

from pipeline.contract.dataset import OF_ROWS
from pipeline.contract.stage import Stage
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.recipe import inputs
from pipeline.recipe.plugins import registry_of
from pipeline.recipe.shrink.sizes import small
from rewards.registry import RegistryError

MOST = {
    "steps": 4, "more_steps": 1, "rounds": 0, "epochs": 1.0, "limit": 16, "batch_size": 4, "problems_each": 8,
    "rollouts": 2, "prompts_per_step": 2, "group_size": 4, "updates_per_step": 2, "dynamic_sampling": 1,
    "max_completion_tokens": 16, "max_length": 2048, "length": 512, "threads": 1, "devices": 2,
    "thinking_budget": 8,
}
"""Numbers of a stage that are at most these, wherever they stand in it."""

ALL = ("problems_each", "limit")
"""Those that mean all that there is where they are null or left out, which they are cut from, too."""

PART = 1
"""Steps of a part of a stage, such as a phase or a lesson, of which there are several."""

INSTEAD: Mapping[str, object] = {
    # Nothing that is drawn from random weights is right.
    "gate": 0, "only_correct": False, "format": False, "readable": False, "finished": False,
    "repetition": None,
    # Neither a server nor its GPUs are on a laptop.
    "engine": "native", "vllm": {}, "staleness": 0,
    # A token for each byte makes texts longer.
    "beyond_context": True, "too_long": "cut", "budgets": [],
}
"""Fields of the kinds that come along that have these values."""

SETS = {"needle_32k": "needle", "needle_128k": "needle"}
"""Problem sets whose prompts are too long for a processor, and what is asked in their place."""


def cut(document: JsonObject, folder: Path) -> None:
    """Cut the budgets of a recipe as it was read, in place. What is wrong with it stays wrong, and is told later."""
    document.pop("accelerate", None)  # one process, wherever it is
    stages = document.get("stages")
    for block in stages.values() if isinstance(stages, dict) else ():
        kind = block.get("kind") if isinstance(block, dict) else None
        try:
            entry = registry_of("stage").resolve(kind, base=folder) if isinstance(kind, str) else None
            stage = entry.load() if entry else None
        except RegistryError:
            continue
        if entry and isinstance(stage, type) and issubclass(stage, Stage):
            _cut_stage(block, stage, ours=entry.origin == "built-in")
            data = stage.model_fields.get("data")
            if data and not data.is_required() and "data" in block and _on_hub(block["data"], folder):
                del block["data"]  # it makes texts of its own


def _cut_stage(block: JsonObject, stage: type[Stage], *, ours: bool) -> None:
    for name, field in stage.model_fields.items():
        usual = None if field.is_required() else field.get_default(call_default_factory=True)
        if name in ALL and block.get(name) is None:
            block[name] = MOST[name]
        elif name in MOST and name not in block and usual is not None:
            block[name] = usual
        if ours and name in INSTEAD:
            block[name] = INSTEAD[name]
    rollouts = block.get("rollouts")
    if isinstance(rollouts, dict):  # of a student that learns from its own answers, and from no rows
        block["rollouts"] = {"prompts_per_step": MOST["prompts_per_step"], **rollouts}
        for name in OF_ROWS:
            block.pop(name, None)
    written = dict(block)
    for name, value in block.items():
        block[name] = small(value) if name == "architecture" and isinstance(value, dict) else _cut(name, value)
    _split_anew(block, written)
    if isinstance(rollouts, dict):
        _split_anew(block["rollouts"], written["rollouts"])
    _give_parts_room(block, written)


def _split_anew(section: JsonObject, written: JsonMapping) -> None:
    """Of rollouts that split into updates as they are `written`, some that do so when both are cut."""
    names = ("prompts_per_step", "group_size", "updates_per_step")
    before = [written.get(name, 1) for name in names]
    if all(isinstance(number, int) and number > 0 for number in before) and before[0] * before[1] % before[2] == 0:
        prompts, each, updates = (section.get(name, 1) for name in names)
        if (fitting := math.gcd(prompts * each, updates)) != updates:
            section["updates_per_step"] = fitting


def _give_parts_room(block: JsonObject, written: JsonMapping) -> None:
    """As many steps as the lessons and what comes `late` take, of which there may be more than a stage has left."""
    lessons, late = block.get("lessons"), block.get("late")
    share = late.get("share", 0) if isinstance(late, dict) else 0
    most, steps = written.get("steps"), block.get("steps")
    if not (isinstance(lessons, list) and isinstance(most, int) and isinstance(steps, int)):
        return
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        return  # told later
    while steps < most and len(lessons) * PART + round(share * steps) > steps:
        steps += 1
    block["steps"] = steps


def _on_hub(written: object, folder: Path) -> bool:
    """Whether what is written leads to a data set of the hub, and to nothing here."""
    try:
        return inputs.find(str(written), "dataset", earlier={}, later={}, folder=folder).origin == "hub"
    except (inputs.InputError, OSError, RuntimeError):
        return False  # told later


def _cut(name: str, value: object, *, part: bool = False) -> object:
    if name in MOST and isinstance(value, int | float) and not isinstance(value, bool):
        return min(value, PART if part and name == "steps" else MOST[name])
    if isinstance(value, dict):
        return {key: _cut(key, item, part=True) for key, item in value.items()}
    if isinstance(value, list):
        items = [_cut("", item, part=True) for item in value]
        # Two sets may have become one.
        return items if items == value or not all(isinstance(item, str) for item in items) else [*dict.fromkeys(items)]
    if isinstance(value, str):
        instead = SETS.get(value.partition(":")[0])
        return instead + value[value.index(":"):] if instead and ":" in value else value
    return value
