"""Losses of stages beside those of the first one, smoothed over the steps before. Prints a table in Markdown.

python benchmarks/fp8/curves.py STAGE STAGE [STAGE ...]      # folders, such as runs/fp32/01-base runs/fp8/01-base
"""

import argparse
import json
import statistics
from pathlib import Path

ROWS = 10
"""Rows of the log that a loss is the mean of; each is the mean of ten steps."""
EVERY = 40


def losses(stage: Path) -> dict[int, float]:
    rows = map(json.loads, (stage / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def smoothed(found: dict[int, float]) -> dict[int, float]:
    steps = sorted(found)
    return {step: statistics.mean(found[one] for one in steps[max(0, number + 1 - ROWS) : number + 1])
            for number, step in enumerate(steps)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("stages", type=Path, nargs="+")
    first, *others = [smoothed(losses(stage)) for stage in parser.parse_args().stages]
    names = [f"{stage.parent.name}/{stage.name}" for stage in parser.parse_args().stages]
    print(f"| step | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for step in [one for one in first if one % EVERY == 0 and all(one in other for other in others)]:
        told = [f"{other[step]:.4f} ({100 * (other[step] / first[step] - 1):+.2f}%)" for other in others]
        print(f"| {step} | {first[step]:.4f} | {' | '.join(told)} |")
