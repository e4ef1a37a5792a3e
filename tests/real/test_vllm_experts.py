"""Experts that vLLM itself tells, on CPUs: that they are those which the model takes, and that `grpo` replays them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.engine.types import Request, Sampling
from eval.errors import ServerError
from eval.vllm.process import Serving, started
from pipeline.serving import weights
from pipeline.serving.served import Served
from tests.real import test_vllm
from tests.real.interpreted_triton import interpreting
from tests.real.test_vllm import PYTHON, TEXT, TOKENIZER, random_model

pytestmark = test_vllm.pytestmark
REQUESTS = [Request([2, *range(20 + 7 * place, 26 + 7 * place)], [10 * place, 10 * place + 1]) for place in range(4)]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    return Serving(str(interpreting(PYTHON, tmp_path / "triton")), "float32", experts=True, on_processors=True)


def taken(model: Any, ids: list[int]) -> torch.Tensor:
    """The experts of each token [tokens, layers, 2], in order of their numbers."""
    with torch.no_grad():
        logits = model(torch.tensor([ids]), output_router_logits=True).router_logits
    return torch.stack([layer.topk(2, dim=-1).indices.sort(dim=-1).values for layer in logits], dim=1)


def test_they_are_those_that_the_model_takes(serving: Serving, tmp_path: Path) -> None:
    """Also of weights that were sent later, and of prompts that several rollouts share."""
    weights.write(random_model(0), TOKENIZER, tmp_path / "first")
    with started(serving, tmp_path / "first", tmp_path / "log") as server:
        for seed in (0, 1):
            model = random_model(seed)
            one = Served(model, TOKENIZER, server, tmp_path / "weights", experts=True)
            if seed:
                one.refresh()
            for request, group in zip(REQUESTS, one.engine.sample(REQUESTS, Sampling(8)), strict=True):
                for drawn in group:
                    assert drawn.experts is not None
                    expected = taken(model, [*request.prompt, *drawn.ids])[: len(drawn.experts)]
                    assert torch.equal(drawn.experts.sort(dim=-1).values.long(), expected)


class Compiled(Serving):
    def command(self, model: str, host: str, port: int) -> list[str]:
        return [one for one in super().command(model, host, port) if one != "--enforce-eager"]


def test_a_compiled_graph_still_notes_none_down(serving: Serving, tmp_path: Path) -> None:
    """Where this fails, `Serving` need not ask for --enforce-eager on processors."""
    model = random_model(0)
    weights.write(model, TOKENIZER, tmp_path / "first")
    with started(Compiled(**vars(serving)), tmp_path / "first", tmp_path / "log") as server:
        one = Served(model, TOKENIZER, server, tmp_path / "weights", experts=True)
        with pytest.raises(ServerError, match="the same expert twice for one token"):
            one.engine.sample(REQUESTS[:1], Sampling(8))


def test_grpo_replays_them(serving: Serving, tmp_path: Path) -> None:
    base, served = (TEXT[TEXT.index(f"  {one}:") : TEXT.index(f"  {end}:")]
                    for one, end in (("base", "native"), ("served", "dense")))
    few = served.replace("steps: 40", "steps: 3\n    replay: rollout").replace("per_step: 8", "per_step: 2")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: few\nstages:\n{base}{few.replace(PYTHON, serving.python)}")
    subprocess.run([sys.executable, "-P", "-m", "pipeline.commands.cli", "run", str(recipe)], cwd=tmp_path, check=True)
    [file] = (tmp_path / "runs" / "few").glob("*-served/metrics.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 3
    assert max(row["vllm/kl"] for row in rows) < 1e-6
