"""Log-probabilities of completions: trl's, from their own logits or through its tiles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from pipeline import completion_logprobs as module
from pipeline.completion_logprobs import completion_logprobs
from pipeline.tokenizer import train_tokenizer

TOKENIZER = train_tokenizer(["<think>So 3.</think><answer>3</answer>"], 64)
COUNT = 7


@pytest.fixture(params=["qwen3", "deepseek_v3", "gpt_oss"])
def asked(request: pytest.FixtureRequest, tiny: Callable[..., Any], tmp_path: Path) -> tuple[Any, ...]:
    """(trainer, model, ids, mask): prompts padded on the left, completions on the right."""
    model = tiny(request.param, vocab_size=len(TOKENIZER), initializer_range=0.1)
    options: dict[str, Any] = {"temperature": 0.7, "num_generations": 2, "per_device_train_batch_size": 2}
    trainer = GRPOTrainer(
        model, lambda completion_ids, **_: [0.0] * len(completion_ids), processing_class=TOKENIZER,
        args=GRPOConfig(str(tmp_path), use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[], **options),
        train_dataset=Dataset.from_list([{"prompt": "3"}]),
    )
    ids = torch.randint(4, len(TOKENIZER), (5, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    for row in range(5):
        mask[row, :row] = 0
        mask[row, 12 - row :] = 0
    return trainer, model, ids, mask


def test_they_are_trls_and_their_gradients_too(asked: tuple[Any, ...]) -> None:
    trainer, model, ids, mask = asked
    found: list[Any] = []
    for way in (completion_logprobs, GRPOTrainer._get_per_token_logps_and_entropies):
        extra = {} if way is completion_logprobs else {"compute_entropy": True}
        logprobs, entropies, *_ = way(trainer, model, ids, mask, COUNT, **extra)
        model.zero_grad()
        (logprobs * torch.arange(35.0).view(5, COUNT)).sum().backward()
        found.append((logprobs.detach(), entropies.detach(), [None if p.grad is None else p.grad.clone() for p in model.parameters()]))
    (ours, entropies, gradients), (theirs, their_entropies, their_gradients) = found
    kept = mask[:, -COUNT:].bool()
    assert (ours[~kept] == 0).all()
    assert (entropies[~kept] == 0).all()
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(entropies[kept], their_entropies[kept], atol=1e-5)
    assert any(g is not None and g.abs().max() > 1 for g in their_gradients)
    for one, other in zip(gradients, their_gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_what_is_too_large_goes_trls_way(asked: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, model, ids, mask = asked
    small = completion_logprobs(trainer, model, ids, mask, COUNT)
    calls: list[int] = []
    own = GRPOTrainer._get_per_token_logps_and_entropies
    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", lambda *a, **k: (calls.append(1), own(*a, **k))[1])
    monkeypatch.setattr(module, "LOGITS", 5 * COUNT * model.config.vocab_size - 1)
    large = completion_logprobs(trainer, model, ids, mask, COUNT)
    assert calls == [1]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(small, large, strict=True))
