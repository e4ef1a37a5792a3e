"""A teacher of rollouts: exact divergences at the tokens that a policy has drawn, however it is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.distillation.guide import Guide
from pipeline.distillation.teachers import Teachers, Words
from pipeline.rl.objectives.objective import FORMS, Objective
from pipeline.rl.scoring.forwards import SharedPrompts
from pipeline.rl.scoring.scoring import Scoring
from tests.pipeline.rl.test_trainer import TEMPERATURE, begun, loss_and_gradients, policy, trainer

Tiny = Callable[..., Any]


def guided(tiny: Tiny, folder: Path, top_k: int | None, weight: float = 0.5, **changed: Any) -> Any:
    """A trainer of a policy with a teacher, and the minibatches of its first round."""
    model = policy(tiny, "qwen3")
    known = model.config.vocab_size - 3
    teachers = Teachers([policy(tiny, "llama")], Words.of(known, top_k), TEMPERATURE)
    made = trainer(model, folder, **changed)
    made.rounds.teacher = Guide(teachers, weight, Scoring(100))
    return made, begun(made)


@pytest.mark.parametrize("top_k", [None, 6])
def test_divergences_are_those_of_each_row_alone(tiny: Tiny, tmp_path: Path, top_k: int | None) -> None:
    made, [batch, *_] = guided(tiny, tmp_path, top_k)
    teachers = made.rounds.teacher.teachers
    [part] = [part for _, part, _ in made._forwards(made.policy, batch.rows(torch.arange(1)))]
    count, begin = int(part.completion_mask.sum()), part.prompt_ids.shape[1] - 1
    [(_, _, (_, _, found))] = made._forwards(made.policy, part)
    ids = part.ids
    mine, theirs = (
        torch.log_softmax(one(input_ids=ids).logits[0, begin:-1, : teachers.words.known] / TEMPERATURE, dim=-1)
        for one in (made.policy, teachers.models[0])
    )
    exact = (mine.exp() * (mine - theirs)).sum(dim=-1)
    if top_k is None:
        assert torch.allclose(found[0, :count], exact, atol=1e-4)
    else:
        assert (found[0, :count] <= exact + 1e-4).all()
    assert (found[0, :count] > 1e-4).all()


def test_whole_rows_and_shared_prompts_give_the_same_loss_and_gradients(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, [batch, *_] = guided(tiny, tmp_path, None)
    model = made.model
    shared = loss_and_gradients(lambda: made.loss(model, batch), model)
    monkeypatch.setattr(SharedPrompts, "fit", lambda *_: False)
    whole = loss_and_gradients(lambda: made.loss(model, batch), model)
    assert torch.allclose(shared[0], whole[0], rtol=1e-4)
    for one, other in zip(shared[1], whole[1], strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_objective_has_the_divergence_added_and_all_rows_move(tiny: Tiny, tmp_path: Path, name: Any) -> None:
    objective = Objective(name, longest=20)
    made, [batch, *_] = guided(tiny, tmp_path, None, objective=objective)
    assert len(made.moving(batch)) == len(batch) > len(objective.moves(batch))
    with_teacher = made.loss(made.policy, batch)
    [(_, part, (_, _, divergences))] = made._forwards(made.policy, batch)
    added = 0.5 * objective.mean(divergences, part.completion_mask, made.counts)
    guide, made.rounds.teacher = made.rounds.teacher, None
    assert torch.allclose(with_teacher, made.loss(made.policy, batch) + added, rtol=1e-4)
    assert added > 1e-4
    assert guide.weight == 0.5


def test_a_policy_that_is_its_teacher_has_nothing_to_learn(tiny: Tiny, tmp_path: Path) -> None:
    made, _ = guided(tiny, tmp_path, None)
    made.rounds.teacher.teachers.models = [made.policy]
    made.rounds.teacher.teachers.words = Words(made.policy.config.vocab_size, None)
    [batch, *_] = begun(made)
    [(_, _, (_, _, divergences))] = made._forwards(made.policy, batch)
    assert divergences.abs().max() < 1e-5
