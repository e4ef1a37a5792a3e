"""Whatever is drafted, rollouts are those that would have been written without drafts."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from eval.engine import native as native_engine
from eval.engine.native import NativeEngine
from eval.engine.speculation.draft import Texts
from eval.engine.speculation.reading import Reading
from eval.engine.speculation.row import Row
from eval.engine.speculation.verify import Tally, standing
from eval.engine.types import Request, Sampled, Sampling, rollout_seed

Tiny = Callable[..., Any]
EOS = 3
FAMILIES = (
    "deepseek_v3", "deepseek_v3_plain_queries", "deepseek_v3_yarn", "qwen3", "qwen3_moe", "llama", "mistral", "qwen2",
    "qwen2_moe", "mixtral", "olmoe", "deepseek_v2", "gpt_oss", "qwen3_moe_every_second",
)


class Knowing(Texts):
    """Drafts what rollouts are known to be, with a wrong token now and then: every length of what stands occurs, and
    rows of a batch have drafts of different lengths."""

    def __init__(self, known: Sequence[Sequence[Sampled]], most: int = 4) -> None:
        self.known, self.most = known, most

    def draft(
        self, rows: Sequence[Row], counts: Sequence[int], tokens: Tensor, hidden: Tensor, reading: Reading
    ) -> list[list[int]]:
        found = []
        for row, count in zip(rows, counts, strict=True):
            written = len(row.ids)
            right = self.known[row.request][row.index].ids[written : written + count]
            wrong = (7 * written + row.index) % 6
            found.append([5 if place == wrong else token for place, token in enumerate(right)][: 1 + written % 5])
        return found


def requests(prompts: int = 5, each: int = 4) -> list[Request]:
    generator = torch.Generator().manual_seed(1)
    ids = [torch.randint(4, 48, (1 + 3 * i,), generator=generator).tolist() for i in range(prompts)]
    return [Request(prompt, [rollout_seed("test", i, j) for j in range(each)]) for i, prompt in enumerate(ids)]


def engine(model: Any, known: Sequence[Sequence[Sampled]] | None = None, **options: Any) -> NativeEngine:
    if known is None:
        return NativeEngine(model, {EOS}, **options)
    return NativeEngine(model, {EOS}, drafter=lambda *_: Knowing(known), **options)


def flat(groups: Sequence[Sequence[Sampled]]) -> list[Sampled]:
    return [one for group in groups for one in group]


def require_same(ours: Sequence[Sequence[Sampled]], theirs: Sequence[Sequence[Sampled]]) -> None:
    assert [(one.ids, one.finished) for one in flat(ours)] == [(one.ids, one.finished) for one in flat(theirs)]
    for one, other in zip(flat(ours), flat(theirs), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.parametrize("sampling", [Sampling(24), Sampling(24, temperature=0)])
@pytest.mark.parametrize("family", FAMILIES)
def test_rollouts_are_those_without_drafts(tiny: Tiny, family: str, sampling: Sampling) -> None:
    model = tiny(family)
    free = engine(model, rows=6).sample(requests(), sampling)
    drafted = engine(model, free, rows=6)
    require_same(drafted.sample(requests(), sampling), free)
    # Something stood at every depth, and something fell.
    tally = drafted.tally
    assert set(tally.acceptance()) == {1, 2, 3, 4}
    assert all(tally.stood[depth] for depth in tally.verified)
    assert tally.stood.total() < tally.verified.total()
    assert tally.written == sum(len(one.ids) for one in flat(free))
    # A forward writes what stood and one token more, but for a rollout's last, which a draft may have ended.
    assert 0 <= tally.read - (tally.written - tally.stood.total()) <= len(flat(free))


@pytest.mark.parametrize("family", ["deepseek_v3", "qwen3_moe"])
@torch.no_grad()
def test_log_probabilities_are_those_of_a_full_forward(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    free = engine(model).sample(requests(), Sampling(24))
    for request, group in zip(requests(), engine(model, free).sample(requests(), Sampling(24)), strict=True):
        for one in group:
            every = torch.tensor([[*request.prompt, *one.ids]])
            logits = model(input_ids=every, use_cache=False).logits[0, len(request.prompt) - 1 : -1]
            expected = logits.log_softmax(-1).gather(-1, torch.tensor(one.ids).unsqueeze(-1)).squeeze(-1)
            assert torch.allclose(torch.tensor(one.logprobs), expected, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 150])
@pytest.mark.parametrize("family", ["deepseek_v3", "gpt_oss"])
def test_rows_that_are_put_off_go_on_as_they_would_have(
    tiny: Tiny, family: str, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_engine, "ROOM", 4)
    model = tiny(family)
    free = engine(model).sample(requests(), Sampling(30))
    require_same(engine(model, free, tokens=tokens).sample(requests(), Sampling(30)), free)


def test_experts_are_those_of_the_tokens_that_stand(tiny: Tiny) -> None:
    model = tiny("qwen3_moe")
    users = [layer.mlp.experts for layer in model.model.layers]
    free = engine(model, experts=users).sample(requests(), Sampling(24))
    drafted = engine(model, free, experts=users).sample(requests(), Sampling(24))
    for one, other in zip(flat(drafted), flat(free), strict=True):
        assert one.experts is not None
        assert other.experts is not None
        assert torch.equal(one.experts, other.experts)


def test_a_text_that_ends_a_rollout_ends_it_inside_a_draft(tiny: Tiny) -> None:
    def decode(some: list[int]) -> str:
        return "".join(f"{token:02d}." for token in some)

    model = tiny("qwen3")
    free = engine(model).sample(requests(), Sampling(24))
    text = decode(next(one.ids for one in flat(free) if len(one.ids) > 12)[6:8])
    stopping = replace(Sampling(24), stop=(text,))
    stopped = engine(model, decode=decode).sample(requests(), stopping)
    assert stopped != free
    require_same(engine(model, free, decode=decode).sample(requests(), stopping), stopped)


def test_no_more_is_written_than_allowed(tiny: Tiny) -> None:
    model = tiny("deepseek_v3")
    free = engine(model).sample(requests(), Sampling(24))
    for most in (1, 2, 3, 7):
        short = engine(model, free).sample(requests(), Sampling(most))
        require_same(short, engine(model).sample(requests(), Sampling(most)))


class Likeliest(Texts):
    """Drafts the next two tokens of rollouts of four: the likeliest, by tables of what follows one token [tokens] and
    two [tokens, tokens]."""

    most = 2

    def __init__(self, second: Tensor, third: Tensor) -> None:
        self.second, self.third = second.tolist(), third.tolist()

    def draft(
        self, rows: Sequence[Row], counts: Sequence[int], tokens: Tensor, hidden: Tensor, reading: Reading
    ) -> list[list[int]]:
        found = []
        for row, count in zip(rows, counts, strict=True):
            after = row.ids[1] if len(row.ids) > 1 else self.second[row.ids[0]]
            guessed = [after, self.third[row.ids[0]][after]]
            found.append(guessed[len(row.ids) - 1 :][:count])
        return found


@torch.no_grad()
def test_every_token_comes_as_often_as_the_model_says(tiny: Tiny) -> None:
    """Of 20,000 rollouts the second and the third token, which were drafted, against the model's probabilities."""
    model, prompt, count = tiny("qwen3", vocab_size=12, eos_token_id=None), [7, 11, 4], 20_000
    first = (model(torch.tensor([prompt])).logits[0, -1] / 2).softmax(-1)  # [tokens]
    pairs = torch.tensor([[*prompt, token] for token in range(12)])
    after = (model(pairs).logits[:, -1] / 2).softmax(-1)  # [tokens, tokens]
    triples = torch.tensor([[*prompt, one, other] for one in range(12) for other in range(12)])
    then = (model(triples).logits[:, -1] / 2).softmax(-1).view(12, 12, 12)
    second = after * first.unsqueeze(1)
    third = then * second.unsqueeze(-1)
    likeliest = after.argmax(-1)
    drafted = NativeEngine(model, set(), drafter=lambda *_: Likeliest(likeliest, then.argmax(-1)))
    [drawn] = drafted.sample([Request(prompt, [rollout_seed("often", i) for i in range(count)])], Sampling(4, 2.0))
    assert min(drafted.tally.stood[1], drafted.tally.stood[2], count - drafted.tally.stood[1]) > 1000
    for expected, seen in (
        (second.sum(0), Counter(one.ids[1] for one in drawn)),
        (third.sum((0, 1)), Counter(one.ids[2] for one in drawn)),
        (second.flatten(), Counter(12 * one.ids[0] + one.ids[1] for one in drawn)),
    ):
        tested = [(count * float(share), seen[place]) for place, share in enumerate(expected) if count * share >= 5]
        assert len(tested) > 6
        chi_square = sum((found - wanted) ** 2 / wanted for wanted, found in tested)
        assert chi_square < len(tested) + 4 * (2 * len(tested)) ** 0.5


def test_what_stands_and_how_it_is_counted() -> None:
    assert standing([4, 5, 6], [4, 5]) == 3
    assert standing([4, 5, 6], [4, 9]) == 2
    assert standing([4], []) == 1
    tally = Tally()
    tally.see(2, 2, 3)
    tally.see(2, 0, 1)
    tally.see(0, 0, 1)
    tally.see(2, 2, 1)  # the first of them stood, and ended the rollout
    assert (tally.read, tally.written) == (4, 6)
    assert tally.acceptance() == {1: 2 / 3, 2: 1.0}
