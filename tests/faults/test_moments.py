"""Killed at the worst moments: inside a checkpoint's write, while grading, inside a generation buffer, in a second epoch."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Killed = Callable[..., Any]

pytestmark = pytest.mark.xdist_group("little")

# 8 problems and 4 a step: the third step begins the second epoch; two updates a step.
LITTLE = """
name: little
checkpoints: {every_seconds: null, every_steps: 1}
stages:
  base:
    kind: pretrain
    steps: 12
    rounds: 0
    batch_size: 8
    corpus: {facts: 0.0, lists: 0.0, needles: 0.0, words: 0.0, behaviours: {correct: 1.0}}
    architecture: {model_type: qwen3_moe, hidden_size: 32, num_hidden_layers: 2, intermediate_size: 32, moe_intermediate_size: 16,
      num_experts: 4, num_experts_per_tok: 2, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8, mlp_only_layers: [],
      decoder_sparse_step: 1, initializer_range: 0.2, rope_parameters: {rope_type: default, rope_theta: 50.0}}
  zero:
    kind: grpo
    model: base
    problems: [programs:train]
    problems_each: 8
    reward: {correct: 1.0, rules: {power.py:cut: 1.0}}
    steps: 5
    prompts_per_step: 4
    group_size: 4
    updates_per_step: 2
    max_completion_tokens: 24
    gate: 0
"""

# A rule that ends the whole session at given calls, once each; without calls to end at it is any other rule.
POWER = '''
import os, signal
from pathlib import Path

def cut(problem, completion) -> float:
    """Shorter completions are better."""
    calls = Path(os.environ["CALLS"])
    with calls.open("ab") as stream:
        stream.write(b".")
        stream.flush()
        count = stream.tell()
    if str(count) in os.environ["CUTS"].split():
        os.killpg(0, signal.SIGKILL)
    return -completion.tokens / 24
'''


def little(killed: Killed, name: str, cuts: str = "") -> Any:
    run = killed(name, textwrap.dedent(LITTLE), CUTS=cuts)
    run.environment["CALLS"] = str(run.folder / "calls")
    (run.folder / "power.py").write_text(POWER)
    return run


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, str]]:
    """What the undisturbed run makes, filled by the first test that needs it."""
    return {}


def undisturbed(killed: Killed, expected: dict[str, dict[str, str]]) -> dict[str, str]:
    if not expected:
        expected["little"] = little(killed, "undisturbed").to_the_end()
    return expected["little"]


def checkpoints(folder: Path, stage: str) -> list[Path]:
    return list((folder / "runs" / "artifacts" / ".partial").glob(f"{stage}-*/checkpoints/*"))


def steps_done(folder: Path, stage: str) -> int:
    names = [path.name for path in checkpoints(folder, stage) if path.name.startswith("step-")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


@pytest.mark.parametrize("stage", [pytest.param("base", marks=pytest.mark.faults), "zero"])
def test_inside_the_write_of_a_checkpoint(killed: Killed, expected: dict[str, dict[str, str]], stage: str) -> None:
    run = little(killed, "run")

    def writing() -> bool:
        return steps_done(run.folder, stage) >= 3 and any(path.name == ".writing" for path in checkpoints(run.folder, stage))

    assert run.killed_when(writing)
    assert run.to_the_end() == undisturbed(killed, expected)
    assert "goes on from its checkpoint at step" in run.printed


@pytest.mark.faults
@pytest.mark.parametrize("done", [3, 5, 6])  # inside the second buffer; at the second epoch's first buffer, and inside it
def test_between_the_updates_of_a_buffer_and_in_a_second_epoch(killed: Killed, expected: Any, done: int) -> None:
    run = little(killed, "run")
    assert run.killed_when(lambda: steps_done(run.folder, "zero") >= done)
    assert run.to_the_end() == undisturbed(killed, expected)


def test_twice_in_one_stage(killed: Killed, expected: Any) -> None:
    run = little(killed, "run")
    for done in (2, 7):
        assert run.killed_when(lambda: steps_done(run.folder, "zero") >= done)  # noqa: B023
    assert run.to_the_end() == undisturbed(killed, expected)
    assert run.printed.count("goes on from its checkpoint") == 2


@pytest.mark.faults
def test_while_grading(killed: Killed, expected: Any) -> None:
    """The stage's own process dies at the 40th call of a rule: inside the grading of the third step's rollouts."""
    run = little(killed, "run", cuts="40")
    assert run.start().wait() == 1
    assert "was ended by SIGKILL" in run.printed
    assert run.to_the_end() == undisturbed(killed, expected)
    ledger = [json.loads(line) for line in (run.folder / "runs" / "little" / "ledger.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in ledger if row["event"] == "failed"] == ["zero", "run"]


@pytest.mark.faults
@pytest.mark.parametrize("stage", ["base", "zero"])
def test_two_processes(killed: Killed, stage: str) -> None:
    """Two processes of `accelerate launch` on CPUs end with the bytes of two that were not killed; their sums are not one's."""
    config = "distributed_type: MULTI_CPU\nuse_cpu: true\nnum_processes: 2\nnum_machines: 1\nmixed_precision: 'no'\n"

    def of_two(name: str) -> Any:
        run = killed(name, textwrap.dedent(LITTLE).replace("name: little\n", "name: little\naccelerate: cpu.yaml\n"), CUTS="")
        run.environment["CALLS"] = str(run.folder / "calls")
        (run.folder / "power.py").write_text(POWER)
        (run.folder / "cpu.yaml").write_text(f"compute_environment: LOCAL_MACHINE\n{config}")
        return run

    run = of_two("run")
    assert run.killed_when(lambda: steps_done(run.folder, stage) >= 3)
    assert run.to_the_end() == of_two("undisturbed").to_the_end()
    assert "goes on from its checkpoint" in run.printed
