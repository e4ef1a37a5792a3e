"""A little model that has one thing to say."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from eval.problems import load
from pipeline.contract.checkpoints import METRICS, Checkpoints, CheckpointSchedule

SAYS = "<think>So 3.</think><answer>3</answer>"
CALLS = "<think><call>calculator 3</call><result>3</result></think><answer>3</answer>"
PROMPTS = [problem.prompt for problem in load("word_problems:train", 16)]


@pytest.fixture(scope="session")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model that answers whatever it is asked with "3", after thinking as much."""
    out = tmp_path_factory.mktemp("answerer")
    _teach(out, [(prompt, SAYS, ()) for prompt in PROMPTS])
    return out


@pytest.fixture(scope="session")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model that asks the calculator what it is to answer, where it has one: "3"."""
    out = tmp_path_factory.mktemp("caller")
    shown = CALLS.index("<result>"), CALLS.index("</think>")
    _teach(out, [(f"{prompt}\ncalculator", CALLS, [shown]) for prompt in PROMPTS], steps=100)
    return out


def _teach(out: Path, told: Sequence[tuple[str, str, Sequence[tuple[int, int]]]], steps: int = 150) -> None:
    """Save a little model that has learned to say these texts under these prompts, but for some of their characters."""
    import torch

    from pipeline.data.rows import Document, rows
    from pipeline.models import pretrained
    from pipeline.models.build import build
    from pipeline.models.tokenizer import train_tokenizer
    from pipeline.training.learning import Learning
    from pipeline.training.optimizer.schedule import Schedule
    from pipeline.training.supervised import Plan, train

    torch.set_num_threads(1)
    tokenizer = train_tokenizer([*(prompt for prompt, _, _ in told), told[0][1]], 96)
    fields = {"model_type": "qwen3", "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 32, "head_dim": 8,
              "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 96}
    model = build(fields, len(tokenizer), seed=0)
    texts = rows(tokenizer, [Document(*one) for one in told])
    learning = Learning(learning_rate=0.02, adam_learning_rate=1e-2)
    train(_Silent(out), model, tokenizer, texts * 75, Plan(steps, 8, learning, Schedule(steps)))
    pretrained.save(model, tokenizer, out)


class _Silent:
    """A context that nobody listens to."""

    seed, name = 0, "answerer"

    def __init__(self, out: Path) -> None:
        self.out = out
        self.checkpoints = Checkpoints(out / "checkpoints", out / METRICS, {}, CheckpointSchedule(), note=self.note)

    def progress(self, done: float, total: float, **figures: float | str) -> None: ...

    def log(self, row: Any) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.fixture
def ask_for(tmp_path: Path) -> Callable[[Sequence[str]], Path]:
    """ask_for(["3", "4"]) -> a folder with a problem set of these right answers, as mine.jsonl."""

    def write(answers: Sequence[str]) -> Path:
        folder = tmp_path / "recipe"
        folder.mkdir()
        rows = [{"prompt": prompt, "answer": answer, "id": f"p{i}"}
                for i, (prompt, answer) in enumerate(zip(PROMPTS, answers, strict=False))]
        (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return write


@pytest.fixture
def whole_and_cut(
    context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[bytes, bytes]]:
    """whole_and_cut(stage, every=4, at=9, base=folder) -> the weights that a stage makes, and those that it makes when
    it is cut off as it begins the step after `at`, and goes on from the last checkpoint of one every 4 steps."""
    from tests.pipeline.training.test_resumable import PowerCut, checkpoints, cut

    def made(stage: Any, every: int, at: int, **paths: Path) -> tuple[bytes, bytes]:
        whole, ctx, again = (context(**paths) for _ in range(3))
        stage.run(whole)
        ctx.checkpoints = checkpoints(ctx.out, every)
        cut(monkeypatch, at)
        with pytest.raises(PowerCut):
            stage.run(ctx)
        cut(monkeypatch, None)
        again.checkpoints = checkpoints(ctx.out, None, again.notes)
        stage.run(again)
        assert f"goes on from its checkpoint at step {at - at % every}" in again.notes
        first, second = ((one.out / "model" / "model.safetensors").read_bytes() for one in (whole, again))
        return first, second

    return made
