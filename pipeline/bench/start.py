"""How long the commands take that should answer at once, in fresh processes."""

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

ROUNDS = 7
COMMANDS = {"--help": 0.3, "plan quickstart": 0.8}
"""What is started, and how many seconds it may take."""


@dataclass(frozen=True)
class Start:
    """Seconds from start to end, over several rounds, and seconds of processors (the median)."""

    median: float
    least: float
    most: float
    processor: float
    allowed: float


def measure(rounds: int = ROUNDS) -> dict[str, Start]:
    """Every command of `COMMANDS`; they take turns. Raises CalledProcessError where one fails."""
    found: dict[str, list[tuple[float, float]]] = {command: [] for command in COMMANDS}
    for _ in range(rounds):
        for command, times in found.items():
            before, began = _processor(), time.perf_counter()
            subprocess.run(
                [sys.executable, "-P", "-m", "pipeline.commands.cli", *command.split()], check=True, capture_output=True
            )
            times.append((time.perf_counter() - began, _processor() - before))
    return {
        command: _summary([wall for wall, _ in times], [spent for _, spent in times], COMMANDS[command])
        for command, times in found.items()
    }


def _summary(walls: list[float], spent: list[float], allowed: float) -> Start:
    return Start(statistics.median(walls), min(walls), max(walls), statistics.median(spent), allowed)


def _processor() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system
