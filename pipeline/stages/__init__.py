"""The built-in stages, by the kind that a recipe gives."""

from typing import Any  # a registry holds classes of stages, which are not imported here

from rewards.registry import Registry

STAGES: Registry[Any] = Registry(
    "stage",
    {
        "pretrain": "pipeline.stages.pretrain:Pretrain",
        "extend": "pipeline.stages.extend:Extend",
        "upcycle": "pipeline.stages.upcycle:Upcycle",
        "grpo": "pipeline.stages.grpo:Grpo",
        "sample": "pipeline.stages.sample:Sample",
        "sft": "pipeline.stages.sft:Sft",
        "distill": "pipeline.stages.distill:Distill",
        "evaluate": "pipeline.stages.evaluate:Evaluate",
    },
    entry_points="retort.stages",
)
