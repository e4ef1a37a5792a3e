"""Runs that have kept rollouts, made without training anything."""

import contextlib
import gzip
import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from eval.report import reduce
from eval.rollouts import rollouts_file, write_rows
from pipeline.disk import durable
from pipeline.results.viewer.rows import Rollouts
from pipeline.results.viewer.server import LookServer
from pipeline.store.run_folder import RunFolder

FINGERPRINT = "0123456789abcdef"
Row = dict[str, Any]


def rollout(step: int, problem: int, number: int, /, **changed: Any) -> Row:
    """A rollout as a GRPO stage keeps it. The later the step, the more of them are right."""
    draw = random.Random(f"{step}/{problem}/{number}")
    a, b = 12 + problem, 7 + 3 * problem % 40
    right = draw.random() < step / 20 + 0.1
    answer = a + b if right else a + b + draw.choice([-10, -1, 1, 10])
    finished = right or draw.random() < 0.8
    thinking = (f"There are {a} apples and {b} more are bought. I add the tens first: {a // 10}0 + {b // 10}0, then "
                f"the ones: {a % 10} + {b % 10}. Together that makes {answer}.")
    text = f"<think>{thinking}</think>" + (f"<answer>{answer}</answer><|end|>" if finished else "<answer>")
    pieces = re.findall(r" ?[^ <>|]+|[<>|/]+", text)
    logprobs = [round(-draw.expovariate(2.5), 3) for _ in pieces]
    verdict = "correct" if right else "wrong" if finished else "truncated"
    reason = {"correct": "", "wrong": f"{answer} where {a + b} is expected", "truncated": "no answer before the end"}
    reward = (1.0 if right else 0.0) + (0.2 if finished else 0.0)
    return {
        "step": step, "problem": f"word_problems-train-{problem:04d}", "family": "word_problems", "rollout": number,
        "prompt": f"<|user|>Mina has {a} apples and buys {b} more. How many are there?<|assistant|>", "text": text,
        "thinking": thinking, "answer": str(answer) if finished else "", "verdict": verdict,
        "reason": reason[verdict], "expected": str(a + b), "reward": reward,
        "parts": {"correct": float(right), "format": 0.2 * finished, "overlong": 0.0 if finished else -0.1},
        "advantage": round(reward - 0.5, 3), "finished": finished, "pieces": pieces, "logprobs": logprobs,
        "sampler_logprobs": [round(one + draw.gauss(0, 0.06), 3) for one in logprobs],
        "experts": [draw.randrange(8) for _ in pieces], "experts_busiest": [round(1 + draw.random(), 2) for _ in "ab"],
        **changed,
    }


def steps_of(folder: Path, name: str) -> Path:
    """Where the stage `name` of the run keeps its steps."""
    return folder / "artifacts" / ".rollouts" / f"{name}-{FINGERPRINT[:10]}"


def write_step(folder: Path, stage: str, step: int, rows: Iterable[Row]) -> Path:
    file = steps_of(folder, stage) / f"step-{step:06d}.jsonl.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows), compresslevel=1))
    return file


def artifact(folder: Path, name: str, kind: str, makes: str, **config: Any) -> Path:
    made = folder / "artifacts" / f"{name}-{FINGERPRINT[:10]}"
    made.mkdir(parents=True, exist_ok=True)
    durable.write_json(made / "stage.json", {
        "name": name, "kind": kind, "makes": makes, "fingerprint": FINGERPRINT, "seconds": 1.0, "config": config,
        "inputs": {}, "metrics": {}, "files": {},
    })
    return made


def empty_run(folder: Path, *stages: str) -> RunFolder:
    run = RunFolder(folder / "apples")
    recipe = {"name": "apples", "file": "apples.yaml", "overrides": [], "stages": {name: {} for name in stages}}
    run.begin("first", recipe, "retort run apples.yaml")
    return run


def grpo(folder: Path, run: RunFolder, steps: Mapping[int, Iterable[Row]], name: str = "zero", number: int = 1) -> None:
    """A finished stage that has kept these rollouts."""
    for step, rows in steps.items():
        write_step(folder, name, step, rows)
    run.link(number, name, artifact(folder, name, "grpo", "model"))


def sample(folder: Path, run: RunFolder, *, only_correct: bool = True) -> None:
    made = artifact(folder, "traces", "sample", "dataset", only_correct=only_correct)
    write_rows(made / "data.jsonl", [
        {"prompt": "How many?", "completion": "<think>12 and 7.</think><answer>19</answer>", "problem": "p-1",
         "family": "word_problems"},
    ])
    run.link(2, "traces", made)


def evaluated(problem: int, index: int, verdict: str, text: str) -> Row:
    return {"problem": f"test-{problem}", "family": "word_problems", "prompt": "How much?", "index": index,
            "text": text, "meta": {"solution": "12 + 7"}, "finished": True, "tokens": 9, "verdict": verdict,
            "extracted": "19", "reason": "said so", "format": True, "readable": True}


def evaluate(
    folder: Path, run: RunFolder, models: Mapping[str, list[Row]], sets: Sequence[str] = ("sums:test",)
) -> Path:
    """A finished stage in which models were measured on these sets, with the same rollouts on each."""
    made = artifact(folder, "score", "evaluate", "report")
    report = {name: {"parameters": 1, "problems": {one: reduce(rows) for one in sets}} for name, rows in models.items()}
    for name, rows in models.items():
        for one in sets:
            write_rows(made / rollouts_file(name, one), rows)
    durable.write_json(made / "report.json", {"models": report})
    run.link(3, "score", made)
    return made


def apples(folder: Path, *, steps: int = 12, problems: int = 6, each: int = 8) -> RunFolder:
    """A run of all three kinds of stages."""
    run = empty_run(folder, "zero", "traces", "score")
    grpo(folder, run, {step: [rollout(step, problem, number) for problem in range(problems) for number in range(each)]
                       for step in range(1, steps + 1)})
    sample(folder, run)
    answers = {"base": ("wrong", "It is 21."), "zero": ("correct", "<think>12 + 7.</think><answer>19</answer>")}
    evaluate(folder, run, {name: [evaluated(problem, index, *answer) for problem in range(2) for index in range(2)]
                           for name, answer in answers.items()})
    return run


@contextlib.contextmanager
def serving(run: RunFolder) -> Iterator[LookServer]:
    """A server of a run's rollouts that answers until the block ends, however it ends."""
    with LookServer(Rollouts(run), 0) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def is_finite(value: object) -> bool:
    """Whether a JSON value holds no number that a browser could not read."""
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
