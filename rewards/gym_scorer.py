"""The process behind the verifier `gym`. Run as a script, never imported.

Serves frames (see rewards/workers.py): seconds (8 bytes) and JSON {generator, seed, index, answer} in; OK and the score
out, or FAILED and why there is none.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any  # whatever reasoning-gym has

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # until the search path comes
from rewards.frames import FAILED, OK, read_frame, write_frame

SIZE = 10_000  # as eval/problems/gym.py has it


def score_of(dataset: Any, index: int, answer: str) -> float:
    """The score of an answer; 0 where the scorer raises over it and not over the problem's own."""
    entry = dataset[index]
    try:
        return float(dataset.score_answer(answer, entry))
    except Exception:  # foreign code on foreign text
        # What cannot even be read is wrong: nobody may take a rollout out of its group by writing it.
        dataset.score_answer(entry["answer"], entry)
        return 0.0


def main() -> None:
    sys.path[:] = read_frame(0).decode().split("\0")
    out = os.dup(1)
    os.dup2(2, 1)  # generators print
    # Not at the top: this process has no site packages until the search path has come.
    import reasoning_gym

    datasets: dict[tuple[str, int], Any] = {}
    write_frame(out, OK, b"ready")
    while True:
        asked = json.loads(read_frame(0)[8:])
        key = (asked["generator"], asked["seed"])
        try:
            if key not in datasets:
                datasets[key] = reasoning_gym.create_dataset(key[0], seed=key[1], size=SIZE)
            score = score_of(datasets[key], asked["index"], asked["answer"])
            write_frame(out, OK, repr(float(score)).encode())
        except Exception as error:  # foreign code on foreign text
            write_frame(out, FAILED, f"the scorer failed: {type(error).__name__}: {error}"[:200].encode())


if __name__ == "__main__":
    main()
