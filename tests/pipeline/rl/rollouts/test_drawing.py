"""What is drawn for a round: with efforts and within a budget, the same on any number of processes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from eval.engine import engine_for
from eval.engine.types import Sampled, Sampling
from eval.problems import load
from eval.prompts import PLAIN, encode_prompt
from eval.protocol import EFFORTS
from pipeline.contract.errors import StageError
from pipeline.models import special_tokens
from pipeline.models.build import build
from pipeline.models.tokenizer import train_tokenizer
from pipeline.moe.replay import OWN
from pipeline.moe.routers import routers
from pipeline.rl.batch import forced, padded
from pipeline.rl.objectives.objective import Objective
from pipeline.rl.plan import GrpoPlan
from pipeline.rl.rollouts.drawing import Drawing, Visit, drawing_for
from pipeline.training.logprobs import completion_logprobs

PROBLEMS = load("word_problems:train", 3)
TOKENIZER = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in PROBLEMS], 96)
HOW = replace(PLAIN, open_thinking=True, thinking_budget=5)
VISITS = [Visit(p.prompt, p.id, 0, effort) for p, effort in zip(PROBLEMS, EFFORTS, strict=True) for _ in range(4)]


class Still:
    """Weights that do not change."""

    def refresh(self) -> None: ...


@pytest.fixture
def model(tiny: Callable[..., Any]) -> Any:
    return tiny("qwen3_moe", vocab_size=len(TOKENIZER), initializer_range=0.15)


@pytest.fixture
def drawing(model: Any) -> Drawing:
    plan = GrpoPlan(3, 4, 2, Sampling(14), Objective(), (0, "test"), prompting=HOW)
    recorded = [router.users for router in routers(model)]
    return Drawing(engine_for(model, TOKENIZER, experts=recorded), Still(), TOKENIZER, plan)


def drawn(made: Drawing, visits: list[Visit], first: int = 0) -> list[Sampled]:
    told: dict[int, Sampled] = {}
    found = made.draw(visits, first, lambda place, one: told.setdefault(place, one) and None)
    assert [told[place] for place in range(len(found))] == found, "each is told once, when it is whole"
    return found


def test_each_visit_is_asked_with_its_effort(drawing: Drawing) -> None:
    for visit, prompt in zip(VISITS, drawing.prompts(VISITS), strict=True):
        assert prompt == encode_prompt(TOKENIZER, visit.prompt, HOW.asking(visit.effort))
    assert VISITS[0].asked == f"{PROBLEMS[0].id} at low effort"
    assert Visit("", "p", 0).asked == "p"


def test_answers_end_where_learned_positions_do() -> None:
    visits = [visit._replace(effort=None) for visit in VISITS]
    sizes = [len(encode_prompt(TOKENIZER, visit.prompt, PLAIN)) for visit in visits]
    plan = GrpoPlan(3, 4, 2, Sampling(40), Objective(), (0, "test"), prompting=PLAIN)

    def drawing(positions: int) -> Drawing:
        learned = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": positions}
        model = build(learned, len(TOKENIZER), 0, special_tokens.ids(TOKENIZER)).eval()
        return drawing_for(model, Accelerator(cpu=True), TOKENIZER, plan, record_experts=False, parted=False)

    found = drawn(drawing(max(sizes) + 9), visits)
    assert all(0 < len(one.ids) <= max(sizes) + 9 - size for one, size in zip(found, sizes, strict=True))
    with pytest.raises(StageError, match="positions end at 12; leave it out"):
        drawn(drawing(12), visits)


@pytest.mark.parametrize("shares", [[6, 6], [4, 4, 4], [3, 3, 3, 3]])
def test_any_number_of_processes_draws_the_same(drawing: Drawing, shares: list[int]) -> None:
    whole = drawn(drawing, VISITS)
    parts: list[Sampled] = []
    for share in shares:
        parts += drawn(drawing, VISITS[len(parts) : len(parts) + share], len(parts))
    assert [(one.ids, one.finished, one.forced) for one in parts] == [
        (one.ids, one.finished, one.forced) for one in whole
    ]


def test_what_was_drawn_is_as_a_forward_gives_it_and_what_was_forced_is_marked(drawing: Drawing, model: Any) -> None:
    found, prompts = drawn(drawing, VISITS), drawing.prompts(VISITS)
    close = TOKENIZER.convert_tokens_to_ids("</think>")
    batch = padded(prompts, found, 0)
    batch = replace(batch, forced=forced(found, batch.completion_ids.shape[1]))
    assert batch.forced is not None
    places = batch.forced.nonzero().tolist()
    assert len(places) > 4
    assert all(place == 5 and batch.completion_ids[row, place] == close for row, place in places)
    assert int(batch.drawn_mask.sum()) == int(batch.completion_mask.sum()) - len(places)
    kept = batch.drawn_mask.bool()
    with torch.no_grad():
        again = completion_logprobs(model, batch.ids, batch.mask, kept.shape[1], 1.0)[0]
    assert torch.allclose(batch.logprobs[kept], again[kept], atol=1e-4)
    for prompt, one in zip(prompts, found, strict=True):
        assert one.experts is not None
        assert len(one.experts) == len(prompt) + len(one.ids) - 1, "of every token but the last, which is not read"
        assert (one.experts != OWN).all()
