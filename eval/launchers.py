"""What launchers of several processes (torchrun, accelerate, an operator of Kubernetes) tell those that they start."""

from collections.abc import Mapping

_NAMES = frozenset({
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_NAME",
    "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
})
_BEGINNINGS = ("TORCHELASTIC_", "PET_", "ACCELERATE_", "FSDP_")  # PET_ are torchrun's own arguments


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that belongs to no group, made of one that may be a member's of some group: torch
    and accelerate would take it for that member, and wait for the others."""
    return {
        name: value for name, value in environment.items() if name not in _NAMES and not name.startswith(_BEGINNINGS)
    }
