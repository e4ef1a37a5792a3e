"""Both engines draw from exactly what a full forward of the model says, whatever shares the batch."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from eval.engine import native as native_engine
from eval.engine.decoder import Decoder
from eval.engine.native import NativeEngine
from eval.engine.types import Request, Sampled, Sampling, rollout_seed
from eval.errors import NumbersError
from tests.eval.engine.asked import EOS, SAMPLING, Tiny, flat, full_forward, ids, native, plain, requests

FAMILIES = ("deepseek_v3", "deepseek_v3_plain_queries", "deepseek_v3_yarn", "qwen3", "qwen3_moe")
MORE = (
    "llama", "mistral", "qwen2", "qwen2_moe", "mixtral", "olmoe", "deepseek_v2", "gpt_oss", "qwen3_moe_every_second"
)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("family", [*FAMILIES, *MORE])
def test_logprobs_are_those_of_a_full_forward(tiny: Tiny, family: str, temperature: float) -> None:
    model = tiny(family)
    asked = requests()
    for request, group in zip(asked, native(model, rows=6).sample(asked, Sampling(24, temperature)), strict=True):
        for one in group:
            expected = full_forward(model, request.prompt, one.ids, temperature)
            assert torch.allclose(torch.tensor(one.logprobs), expected, atol=1e-4)


@pytest.mark.parametrize("family", ["mixtral", "gpt_oss", "deepseek_v2", "dbrx", "jamba"])
def test_the_plain_way_is_right_for_every_family(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    asked = requests()
    for request, group in zip(asked, plain(model).sample(asked, Sampling(24, 1.0)), strict=True):
        for one in group:
            assert torch.allclose(
                torch.tensor(one.logprobs), full_forward(model, request.prompt, one.ids, 1.0), atol=1e-4
            )


@torch.no_grad()
def test_these_models_would_show_an_error(tiny: Tiny) -> None:
    prompt = torch.tensor([[5, 9, 14, 20, 33, 8]])
    others = {family: tiny(family)(prompt).logits[0, -1] for family in FAMILIES}
    for family in FAMILIES:
        changed = tiny(family)(torch.tensor([[6, 9, 14, 20, 33, 8]])).logits[0, -1]
        assert (changed - others[family]).abs().max() > 0.1, family
    assert (others["deepseek_v3"] - others["deepseek_v3_yarn"]).abs().max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_is_what_generate_writes(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    asked = requests(each=1)
    ours = native(model).sample(asked, Sampling(24, temperature=0))
    for request, (one,) in zip(asked, ours, strict=True):
        prompt = torch.tensor([list(request.prompt)])
        theirs = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=24, eos_token_id=EOS
        )
        assert one.ids == theirs[0, len(request.prompt) :].tolist()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", [1, 5])
def test_a_rollout_does_not_depend_on_its_company(tiny: Tiny, family: str, rows: int) -> None:
    model = tiny(family)
    asked = requests()
    together = native(model).sample(asked, SAMPLING)
    assert ids(native(model, rows).sample(asked, SAMPLING)) == ids(together)
    alone = native(model).sample([Request(asked[2].prompt, [asked[2].seeds[1]])], SAMPLING)
    assert alone[0][0].ids == together[2][1].ids


@pytest.mark.parametrize("make", [native, plain])
def test_four_now_and_four_later_are_eight(tiny: Tiny, make: Callable[[Any], Any]) -> None:
    engine = make(tiny("deepseek_v3"))
    eight = requests(prompts=3, each=8)
    first = engine.sample([Request(q.prompt, q.seeds[:4]) for q in eight], SAMPLING)
    second = engine.sample([Request(q.prompt, q.seeds[4:]) for q in eight], SAMPLING)
    assert ids([a + b for a, b in zip(first, second, strict=True)]) == ids(engine.sample(eight, SAMPLING))


@pytest.mark.parametrize("family", FAMILIES + MORE)
def test_weights_where_they_lie_write_the_same(tiny: Tiny, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on GPUs, where copies of them are not made."""
    model = tiny(family)
    copied = native(model).sample(requests(), SAMPLING)
    monkeypatch.setattr("eval.engine.weights.laid_out", lambda _: False)
    decoder = Decoder(model)
    assert decoder.head.parts[0].weight.data_ptr() == model.lm_head.weight.data_ptr()
    assert ids(native(model).sample(requests(), SAMPLING)) == ids(copied)


@pytest.mark.parametrize("make", [native, plain])
def test_each_rollout_is_told_once_and_as_soon_as_it_is_done(
    tiny: Tiny, make: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.engine.plain.ROWS", 5)
    told: dict[tuple[int, int], Sampled] = {}
    before: list[int] = []
    asked = [*requests(prompts=3, each=3), Request([4, 5], [1])]

    def written(request: int, index: int, one: Sampled) -> None:
        assert (request, index) not in told
        told[request, index] = one

    drawn = make(tiny("qwen3_moe")).sample(asked, SAMPLING, lambda done, _: before.append(len(told) - done), written)
    assert told == {(request, index): one for request, group in enumerate(drawn) for index, one in enumerate(group)}
    assert set(before) == {0}  # never later than it is counted as done


@pytest.mark.parametrize("family", FAMILIES)
def test_both_engines_write_the_same(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    ours, theirs = native(model).sample(requests(), SAMPLING), plain(model).sample(requests(), SAMPLING)
    assert ids(ours) == ids(theirs)
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)
        assert a.finished == b.finished


@pytest.mark.parametrize("make", [native, plain])
def test_tokens_come_as_often_as_the_model_says(tiny: Tiny, make: Callable[[Any], Any]) -> None:
    model = tiny("deepseek_v3")
    prompt, count = [7, 11, 30], 3000
    drawn = make(model).sample([Request(prompt, [rollout_seed("often", i) for i in range(count)])], Sampling(1, 0.8))
    seen = Counter(one.ids[0] for one in flat(drawn))
    with torch.no_grad():
        expected = torch.softmax(model(torch.tensor([prompt])).logits[0, -1] / 0.8, -1) * count
    tested = [i for i in range(len(expected)) if expected[i] >= 5]
    chi_square = sum((seen[i] - float(expected[i])) ** 2 / float(expected[i]) for i in tested)
    assert len(tested) > 3
    assert chi_square < len(tested) + 5 * (2 * len(tested)) ** 0.5


@pytest.mark.parametrize("make", [native, plain])
def test_sampling_leaves_the_model_as_it_was(tiny: Tiny, make: Callable[[Any], Any]) -> None:
    model = tiny("qwen3_moe").train()
    calls: list[tuple[int, int]] = []
    rollouts = flat(make(model).sample(requests(), SAMPLING, lambda done, of: calls.append((done, of))))
    assert model.training
    assert calls[-1] == (len(rollouts), len(rollouts))
    assert make(model).sample([], SAMPLING) == []
    model.eval()
    make(model).sample(requests(prompts=1), SAMPLING)
    assert not model.training


def test_the_engine_reads_weights_afresh(tiny: Tiny) -> None:
    model = tiny("deepseek_v3")
    engine = native(model)
    before = engine.sample(requests(), SAMPLING)
    with torch.no_grad():
        model.model.layers[0].self_attn.kv_b_proj.weight.mul_(-1.0)
    after = engine.sample(requests(), SAMPLING)
    assert ids(before) != ids(after)
    assert ids(after) == ids(plain(model).sample(requests(), SAMPLING))


@pytest.mark.parametrize("tokens", [1, 90, 150])
@pytest.mark.parametrize("family", ["deepseek_v3", "qwen3_moe", "gpt_oss"])
def test_a_small_cache_changes_no_token(tiny: Tiny, family: str, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_engine, "ROOM", 4)
    model, held = tiny(family), []
    whole = native(model).sample(requests(), Sampling(30))
    resize = Decoder.resize

    def watched(self: Decoder, rows: int, capacity: int, live: int) -> None:
        held.append((rows, rows * capacity))
        resize(self, rows, capacity, live)

    monkeypatch.setattr(Decoder, "resize", watched)
    assert ids(NativeEngine(model, {EOS}, tokens=tokens).sample(requests(), Sampling(30))) == ids(whole)
    assert all(rows == 1 or count <= tokens for rows, count in held)
    assert tokens == 1 or max(rows for rows, _ in held) > 1


def test_prompts_are_read_in_parts_where_they_are_many(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("deepseek_v3")
    whole = native(model).sample(requests(), SAMPLING)
    monkeypatch.setattr(native_engine, "PROMPT_TOKENS", 14)
    assert ids(native(model).sample(requests(), SAMPLING)) == ids(whole)


@pytest.mark.parametrize("make", [native, plain])
def test_both_engines_narrow_what_is_drawn_from(tiny: Tiny, make: Callable[[Any], Any]) -> None:
    model = tiny("qwen3_moe")
    narrow = make(model).sample(requests(), Sampling(12, 0.9, top_k=3, min_p=0.1))
    assert ids(narrow) == ids(plain(model).sample(requests(), Sampling(12, 0.9, top_k=3, min_p=0.1)))
    likeliest = make(model).sample(requests(), Sampling(12, top_k=1))
    assert ids(likeliest) == ids(make(model).sample(requests(), Sampling(12, temperature=0)))


@pytest.mark.parametrize("engine", [native, plain])
def test_a_model_that_computes_nan_is_no_model_that_answers(tiny: Tiny, engine: Callable[..., Any]) -> None:
    model = tiny("qwen3")
    model.config.name_or_path = "runs/r/01-s/model"
    with torch.no_grad():
        model.model.norm.weight.fill_(torch.nan)
    with pytest.raises(NumbersError, match=r"the model runs/r/01-s/model computes NaN, .* float32; take a model"):
        engine(model).sample(requests(2, 1), SAMPLING)
