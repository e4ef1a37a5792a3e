"""Whether this machine has what an accelerate config asks for. accelerate itself takes the processor where there is no
GPU, and says nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.contract.errors import RecipeError
from pipeline.recipe import accelerate_config
from pipeline.recipe.accelerate_config import SECTIONS, STANDARD, AccelerateConfig
from pipeline.run import slurm
from rewards.lazy import lazy

with lazy:
    import torch

ON_PROCESSORS = ("NO", "MULTI_CPU", "FSDP", "DEEPSPEED")
ON_GPUS = ("MULTI_GPU", "FSDP", "DEEPSPEED", "MEGATRON_LM")
"""What accelerate calls `distributed_type`; others are for accelerators that are not looked for here."""


def check(config: Path) -> None:
    """Raises RecipeError where the config is for GPUs or machines that are not here, or says what would be done in
    another way, or not at all, without a word."""
    asked = accelerate_config.read(config)
    kind, place = asked.kind, asked.place("distributed_type")
    check_fields(asked)
    _check_machines(asked)
    here = torch.cuda.device_count()
    if asked.on_processors:
        if kind not in ON_PROCESSORS:
            raise RecipeError(f"{place}: {kind} is for GPUs, and with use_cpu: true accelerate would do without it, in "
                              "silence; take distributed_type: MULTI_CPU, or leave use_cpu out")
        if kind in SECTIONS and here:
            raise RecipeError(f"{place}: {kind} takes the GPUs that are here, whatever use_cpu says; hide them by "
                              "CUDA_VISIBLE_DEVICES= , or leave use_cpu out")
        return
    if on_gpus(asked) and here < asked.processes_here:
        instead = "take use_cpu: true" if kind == "NO" else (
            "lower num_processes, or take distributed_type: MULTI_CPU and use_cpu: true")
        raise RecipeError(f"{place}: {kind} asks for {asked.processes_here} GPUs here, and this machine has {here}; "
                          f"{instead}")


def on_gpus(asked: AccelerateConfig) -> bool:
    """Whether the config is for GPUs; one without `distributed_type` is where `use_cpu: false` is written out."""
    return (asked.kind in ON_GPUS and not asked.on_processors) or (
        asked.kind == "NO" and asked.fields.get("use_cpu") is False)


def check_fields(asked: AccelerateConfig) -> None:
    """Raises RecipeError for a field that some library between here and the weights takes, and not as it is meant,
    whatever machine this is."""
    fields = asked.section
    if asked.kind == "FSDP" and str(fields.get("fsdp_version", fields.get("version", 1))) != "2":
        raise RecipeError(f"{asked.place('distributed_type')}: FSDP is used in its version 2, which cuts models by "
                          "parameters; write fsdp_version: 2 under fsdp_config (accelerate's default is 1)")
    for name, unwanted, instead in _REFUSED:
        above = () if name in asked.fields else (SECTIONS.get(asked.kind, ""),)
        value = (fields if above else asked.fields).get(name)
        if value is not None and unwanted(value):
            raise RecipeError(f"{asked.place(*above, name)}: {name}: {str(value).lower()} is not for here: {instead}")
    launcher = fields.get("deepspeed_multinode_launcher", STANDARD)
    if asked.kind == "DEEPSPEED" and asked.machines > 1 and launcher != STANDARD:
        where = asked.place(SECTIONS[asked.kind], "deepspeed_multinode_launcher")
        raise RecipeError(f"{where}: deepspeed_multinode_launcher: {launcher} starts the processes of all machines, "
                          f"which srun does already; write {STANDARD}")
    number = asked.fields.get("num_processes")
    if not isinstance(number, int) or number < 1:  # accelerate has no default for it in a config
        raise RecipeError(f"{asked.place('num_processes')}: num_processes is no number of processes; write "
                          "num_processes: 1, or how many all machines have together")
    if number % asked.machines:  # accelerate would round down
        raise RecipeError(f"{asked.place('num_processes')}: {number} processes do not split over {asked.machines} "
                          "machines; num_processes counts those of all machines together")


def _no(value: object) -> bool:
    return str(value).lower() in ("no", "false", "none", "{}")


def _compiles(value: object) -> bool:
    return isinstance(value, Mapping) and not _no(value.get("dynamo_backend", value.get("backend")))


_REFUSED: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("mixed_precision", lambda value: not _no(value), "each stage says it by `mixed_precision`"),
    ("parallelism_config", lambda value: not _no(value), "rows are shared among all processes"),
    # Where processes share a model it would be compiled, and where they do not nothing would.
    ("dynamo_config", _compiles, "stages say it by `compile`"),
    # Layers would be computed again with the router's own experts, and not with those that were replayed.
    ("fsdp_activation_checkpointing", lambda value: not _no(value), "stages say it by `gradient_checkpointing`"),
    # Stages load models before there are other processes to get them from.
    ("fsdp_cpu_ram_efficient_loading", lambda value: not _no(value), "each process loads the model; write false"),
    # It may bring an optimizer and a schedule, which would be taken for the stage's.
    ("deepspeed_config_file", lambda value: not _no(value), "write what it says under deepspeed_config"),
    ("gradient_accumulation_steps", lambda value: str(value) != "1", "stages say it by `micro_batch_tokens`; write 1"),
    ("gradient_clipping", lambda value: str(value).lower() not in ("auto", "none"), "stages say it by `max_grad_norm`"),
)
"""Fields, which of their values are refused, and what to do."""


def _check_machines(asked: AccelerateConfig) -> None:
    machines, job = asked.machines, slurm.allocation()
    if machines == 1:
        return
    if job is None:
        raise RecipeError(f"{asked.place('num_machines')}: {machines} machines are asked for, and this run is in no "
                          "Slurm job; `retort launch` writes the script of one, or take num_machines: 1")
    if not slurm.on_a_machine_of_it():
        raise RecipeError(f"{asked.place('num_machines')}: this is none of job {job.job}'s machines; start the run by "
                          "the script of `retort launch`, or on the first of them by srun --nodes=1 --overlap --pty")
    if job.machines < machines:
        raise RecipeError(f"{asked.place('num_machines')}: {machines} machines are asked for, and job {job.job} has "
                          f"{job.machines}; lower num_machines, or ask Slurm for more by --nodes")
