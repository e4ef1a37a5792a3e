"""Resuming: whatever was interrupted, and wherever, the file in the end is the same."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eval import answers
from eval.answers import Local, read_rows, rollouts
from eval.engine import engine_for
from eval.engine.native import NativeEngine
from eval.engine.plain import PlainEngine
from eval.engine.types import Sampling
from eval.problems import load
from eval.protocol import Prompting, Protocol
from eval.report import reduce
from eval.rollouts import Rollout
from pipeline.models.tokenizer import train_tokenizer
from rewards.types import Problem

PROBLEMS = load("word_problems:test", 10)


class Killed(BaseException):
    pass


class Dying:
    """A source that is killed after so many groups of answers."""

    def __init__(self, source: Local, after: int) -> None:
        self.source, self.after = source, after

    def prompts(self, problems: Any) -> list[Any]:
        return self.source.prompts(problems)

    def answers(self, problems: Any, have: Any) -> Iterator[list[Rollout]]:
        for count, group in enumerate(self.source.answers(problems, have)):
            if count == self.after:
                raise Killed
            yield group


@pytest.fixture
def model(tiny: Callable[..., Any]) -> tuple[Any, Any]:
    tokenizer = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in PROBLEMS], 64)
    return tiny("qwen3", vocab_size=len(tokenizer), initializer_range=0.05), tokenizer


def local(model: tuple[Any, Any], engine: Any = None, temperature: float = 1.0, n: int = 3) -> Local:
    weights, tokenizer = model
    protocol = Protocol(Prompting(), Sampling(16, temperature), n, 0)
    return Local(engine or engine_for(weights, tokenizer), tokenizer, protocol)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_killed_and_resumed_is_the_same_file(
    model: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(answers, "BLOCK", 6)
    whole, file = tmp_path / "whole.jsonl", tmp_path / "rows.jsonl"
    rollouts(local(model), PROBLEMS, 3, whole)
    with pytest.raises(Killed):
        rollouts(Dying(local(model), after), PROBLEMS, 3, file)
    assert not file.exists()
    partial = tmp_path / "rows.jsonl.partial"
    assert len(read_rows(partial)) == 6 * after
    with partial.open("ab") as stream:  # killed in the middle of a row
        stream.write(b'\n{"problem": "word_pro')
    told: list[tuple[int, int]] = []
    rows = rollouts(local(model), PROBLEMS, 3, file, lambda done, total: told.append((done, total)))
    assert file.read_bytes() == whole.read_bytes()
    assert told[0] == (6 * after, 30)
    assert told[-1] == (30, 30)
    assert not partial.exists()
    assert rollouts(local(model), PROBLEMS, 3, file) == rows, "a finished file is read and nobody is asked"
    assert all(row["flexible"] == "correct" or row["flexible"] == row["verdict"] for row in rows)


def test_a_torn_row_harms_no_other(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_bytes(b'\n{"a": 1}\n{"b": \xe3\n{"c": 3}\n{"d"')
    assert read_rows(file) == [{"a": 1}, {"c": 3}]
    file.write_bytes(b'null\n{"a": 1}\n[1, 2]\n5\n' + b"[" * 100_000)
    assert read_rows(file) == [{"a": 1}]


def test_at_temperature_zero_neither_batch_nor_engine_nor_order_matters(model: tuple[Any, Any], tmp_path: Path) -> None:
    weights, tokenizer = model
    engines = {"large": NativeEngine(weights, {tokenizer.eos_token_id}),
               "small": NativeEngine(weights, {tokenizer.eos_token_id}, rows=3),
               "plain": PlainEngine(weights, {tokenizer.eos_token_id}, tokenizer.pad_token_id)}
    found = {
        name: rollouts(local(model, engine, 0.0, 1), PROBLEMS, 1, tmp_path / f"{name}.jsonl")
        for name, engine in engines.items()
    }
    turned: list[Problem] = PROBLEMS[::-1]
    found["turned"] = rollouts(local(model, None, 0.0, 1), turned, 1, tmp_path / "turned.jsonl")[::-1]
    assert found["large"] == found["small"] == found["plain"] == found["turned"]
    assert len({json.dumps(reduce(rows)) for rows in found.values()}) == 1
