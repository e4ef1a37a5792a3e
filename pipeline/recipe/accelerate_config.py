"""What is read here of a config that `accelerate config` has written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.recipe import strict_yaml

SECTIONS = {"FSDP": "fsdp_config", "DEEPSPEED": "deepspeed_config"}
"""Where a kind has its own fields."""

STANDARD = "standard"
"""The `deepspeed_multinode_launcher` that is torch's, which is started on each machine; others start the rest."""


@dataclass(frozen=True)
class AccelerateConfig:
    """`kind` is what accelerate calls `distributed_type`; `processes` are those of all `machines`."""

    document: strict_yaml.Document
    kind: str
    processes: int
    machines: int
    on_processors: bool

    @property
    def processes_here(self) -> int:
        """On each machine."""
        return -(-self.processes // self.machines)

    @property
    def fields(self) -> Mapping[str, object]:
        """All of them."""
        found: Mapping[str, object] = self.document.data
        return found

    @property
    def section(self) -> Mapping[str, object]:
        """The kind's own."""
        given = self.fields.get(SECTIONS.get(self.kind, ""))
        return given if isinstance(given, Mapping) else {}

    @property
    def collective(self) -> bool:
        """Whether processes share out more of a model than its gradients' sums, and run its forwards together."""
        return self.kind in ("FSDP", "DEEPSPEED")

    @property
    def parted(self) -> bool:
        """Whether each process has weights in parts."""
        return self.kind == "FSDP" or (self.kind == "DEEPSPEED" and self.section.get("zero_stage") == 3)

    def place(self, *where: str) -> str:
        """File and line."""
        return self.document.place(where)


def read(file: Path) -> AccelerateConfig:
    """The config in a file that holds one, as a recipe has looked. What is no number of processes counts as one."""
    document = strict_yaml.read_file(file)
    asked: Mapping[str, object] = document.data
    processes, machines = (_count(asked.get(name)) for name in ("num_processes", "num_machines"))
    kind = str(asked.get("distributed_type", "NO"))
    return AccelerateConfig(document, kind, processes, machines, asked.get("use_cpu") is True)


def _count(value: object) -> int:
    return max(1, value) if isinstance(value, int) else 1
