"""What an accelerate config says of who holds what."""

from pathlib import Path

import pytest

import recipes
from pipeline.costs.sharing import ALONE, Sharing, sharing_of

FOLDER = Path(next(iter(recipes.__path__))) / "accelerate"


@pytest.mark.parametrize(("name", "kind", "divided"), [
    ("ddp", "DDP", (1, 1, 1)), ("fsdp2", "FSDP2", (8, 8, 8)), ("zero2", "ZeRO-2", (1, 8, 8)),
    ("zero3", "ZeRO-3", (8, 8, 8)),
])
def test_shipped_configs(name: str, kind: str, divided: tuple[int, int, int]) -> None:
    found = sharing_of(FOLDER / f"{name}.yaml")
    assert (found.kind, found.processes) == (kind, 8)
    assert (found.weights, found.gradients, found.optimizer) == divided
    assert found.collective == (kind != "DDP")
    assert found.parted == (divided[0] > 1)
    assert str(found) == f"{kind} over 8"


def test_a_recipe_without_one_runs_in_one_process(tmp_path: Path) -> None:
    assert sharing_of(None) == ALONE
    alone = tmp_path / "alone.yaml"
    alone.write_text("distributed_type: 'NO'\nnum_processes: 1\n")
    assert sharing_of(alone) == ALONE == Sharing()
    assert str(ALONE) == "one process"
