"""A module that predicts the token after the next one drafts, and what it drafts changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from eval.engine import native as native_engine
from eval.engine.native import NativeEngine
from eval.engine.sampling import draw
from eval.engine.speculation.mtp import MtpDrafter
from eval.engine.types import Request, Sampled, Sampling, rollout_seed
from pipeline.models.mtp.module import Mtp

Tiny = Callable[..., Any]
EOS = 3


def requests() -> list[Request]:
    return [Request([4 + place, *range(5, 5 + 4 * place)], [rollout_seed("mtp", place, i) for i in range(3)])
            for place in range(4)]


def written(groups: list[list[Sampled]]) -> list[list[int]]:
    return [one.ids for group in groups for one in group]


@pytest.mark.parametrize("tokens", [2**17, 150])
@pytest.mark.parametrize("family", ["deepseek_v3", "gpt_oss"])
@torch.no_grad()
def test_its_drafts_are_what_the_module_says(
    tiny: Tiny, family: str, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each draft against forwards without caches, of texts of several lengths, some of them put off on the way."""
    monkeypatch.setattr(native_engine, "ROOM", 4)
    model = tiny(family)
    module = Mtp(model)
    seen: list[tuple[tuple[int, ...], list[float], list[int]]] = []
    draft = MtpDrafter.draft

    def watched(self: MtpDrafter, rows: Any, counts: Any, *others: Any) -> list[list[int]]:
        found = draft(self, rows, counts, *others)
        seen.extend((row.text, row.numbers(3), own) for row, own in zip(rows, found, strict=True))
        return found

    monkeypatch.setattr(MtpDrafter, "draft", watched)
    engine = NativeEngine(
        model, {EOS}, tokens=tokens,
        drafter=lambda decoder, sampling: MtpDrafter(module, model.config, 3, decoder, sampling),
    )
    free = NativeEngine(model, {EOS}).sample(requests(), Sampling(20, 0.7))
    assert written(engine.sample(requests(), Sampling(20, 0.7))) == written(free)
    assert len(seen) > 80
    for text, numbers, own in seen[::9]:
        assert own == alone(model, module, list(text), numbers)[: len(own)]


def alone(model: Any, module: Mtp, text: list[int], numbers: list[float]) -> list[int]:
    """The drafts after a text, by forwards of the whole."""
    drafts: list[int] = []
    hidden = model.get_decoder()(input_ids=torch.tensor([text]), use_cache=False).last_hidden_state[:, :-1]
    for number in numbers:
        following = torch.tensor([[*text, *drafts][1:]])
        states = module(model, hidden, following)
        logits = model.get_output_embeddings()(states[:, -1])
        drafts.append(int(draw(logits, 0.7, torch.tensor([number]))[0]))
        # What the module has made stands for what the model would make of the drafted token.
        hidden = torch.cat([hidden, states[:, -1:]], dim=1)
    return drafts
