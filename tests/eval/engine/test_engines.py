"""Both engines draw from exactly what a full forward of the model says, whatever shares the batch."""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from eval.engine import engine_for
from eval.engine import native as native_engine
from eval.engine.decoder import Decoder
from eval.engine.native import NativeEngine
from eval.engine.plain import PlainEngine
from eval.engine.types import Request, Sampled, Sampling, rollout_seed
from eval.errors import FamilyError, NumbersError

Tiny = Callable[..., Any]
FAMILIES = ("deepseek_v3", "deepseek_v3_plain_queries", "deepseek_v3_yarn", "qwen3", "qwen3_moe")
MORE = (
    "llama", "mistral", "qwen2", "qwen2_moe", "mixtral", "olmoe", "deepseek_v2", "gpt_oss", "qwen3_moe_every_second"
)
EOS, PAD = 3, 0
SAMPLING = Sampling(max_tokens=16)


def requests(prompts: int = 5, each: int = 4) -> list[Request]:
    """Prompts of different lengths, the first of a single token."""
    generator = torch.Generator().manual_seed(1)
    lengths = [1 + 3 * i for i in range(prompts)]
    ids = [torch.randint(4, 48, (length,), generator=generator).tolist() for length in lengths]
    return [Request(prompt, [rollout_seed("test", i, j) for j in range(each)]) for i, prompt in enumerate(ids)]


def native(model: Any, rows: int = 256) -> NativeEngine:
    return NativeEngine(model, {EOS}, rows)


def plain(model: Any) -> PlainEngine:
    return PlainEngine(model, {EOS}, PAD)


@torch.no_grad()
def full_forward(model: Any, prompt: Any, ids: list[int], temperature: float) -> torch.Tensor:
    """Log-probabilities of `ids` after the prompt, without any cache."""
    every = torch.tensor([[*prompt, *ids]])
    logits = model(input_ids=every, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.float() / temperature, -1).gather(-1, torch.tensor(ids).unsqueeze(-1)).squeeze(-1)


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
def test_a_rollout_ends_with_its_end_of_text_or_at_the_limit(tiny: Tiny, make: Callable[[Any], Any]) -> None:
    rollouts = flat(make(tiny("qwen3")).sample(requests(each=16), SAMPLING))
    assert {one.finished for one in rollouts} == {True, False}
    for one in rollouts:
        assert len(one.ids) == len(one.logprobs)
        assert EOS not in one.ids[:-1]
        assert one.finished == (one.ids[-1] == EOS)
        assert one.finished or len(one.ids) == SAMPLING.max_tokens


def test_an_end_at_the_last_token_allowed_is_an_end(tiny: Tiny) -> None:
    engine = native(tiny("qwen3"))
    whole = next(one for one in flat(engine.sample(requests(each=16), SAMPLING)) if one.finished and len(one.ids) > 1)
    places = [(q.prompt, s) for q in requests(each=16) for s in q.seeds]
    prompt, seed = places[flat(engine.sample(requests(each=16), SAMPLING)).index(whole)]
    exactly = engine.sample([Request(prompt, [seed])], Sampling(len(whole.ids)))[0][0]
    assert (exactly.ids, exactly.finished) == (whole.ids, True)
    less = engine.sample([Request(prompt, [seed])], Sampling(len(whole.ids) - 1))[0][0]
    assert (less.ids, less.finished) == (whole.ids[:-1], False)


@pytest.mark.parametrize("make", [native, plain])
def test_a_request_may_bound_its_own_rollouts(tiny: Tiny, make: Callable[[Any], Any]) -> None:
    engine, bounds = make(tiny("qwen3")), [3, 99, 1, None, 7]
    whole = engine.sample(requests(), SAMPLING)
    asked = [replace(request, max_tokens=most) for request, most in zip(requests(), bounds, strict=True)]
    for free, bound, most in zip(whole, engine.sample(asked, SAMPLING), bounds, strict=True):
        for one, cut in zip(free, bound, strict=True):
            assert cut.ids == one.ids[:most]
            assert len(cut.logprobs) == len(cut.ids)
            assert cut.finished == (one.finished and len(cut.ids) == len(one.ids))
    assert any(len(one.ids) > 7 for one in whole[4])


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


class Tokenizer:
    """What `engine_for` reads of a tokenizer."""

    eos_token_id, pad_token_id, chat_template = EOS, PAD, None
    all_special_ids = (PAD, 2, EOS, 5)

    def get_added_vocab(self) -> dict[str, int]:
        return {}


@pytest.mark.parametrize("family", ["qwen3", "dbrx"])
def test_every_end_of_tokenizer_and_generation_config_ends_a_rollout(tiny: Tiny, family: str) -> None:
    model = tiny(family)
    free = [one.ids for group in engine_for(model, Tokenizer()).sample(requests(), Sampling(30)) for one in group]
    model.generation_config.eos_token_id = [EOS, 5, 9, 10_000]  # 9 is an ordinary piece of text, 10,000 is no token
    for one, before in zip((one for group in engine_for(model, Tokenizer()).sample(requests(), Sampling(30))
                            for one in group), free, strict=True):
        cut = next((place for place, token in enumerate(before) if token in (EOS, 5)), 29)
        assert one.ids == before[: cut + 1]
        assert one.finished == (one.ids[-1] in (EOS, 5))
    assert any(5 in ids for ids in free)
    assert any(9 in ids[:-1] for ids in free)


@pytest.mark.parametrize(
    ("family", "changed", "engine"),
    [
        ("deepseek_v3", {}, NativeEngine),
        ("qwen3", {}, NativeEngine),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}, NativeEngine),
        ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}, NativeEngine),
        ("qwen2_moe", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}, NativeEngine),
        ("olmoe", {"clip_qkv": 0.5}, NativeEngine),
        (
            "llama",
            {"attention_bias": True, "rope_parameters": {"rope_type": "linear", "rope_theta": 50.0, "factor": 2.0}},
            NativeEngine
        ),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 50.0, "factor": 2.0}}, PlainEngine),
        (
            "deepseek_v2", {"topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1, "q_lora_rank": None},
            NativeEngine
        ),
        ("deepseek_v3", {"rope_interleave": False}, NativeEngine),
        ("dbrx", {}, PlainEngine),
    ],
)
def test_the_chosen_engine_is_right_for_the_model(
    tiny: Tiny, family: str, changed: dict[str, Any], engine: type
) -> None:
    model = tiny(family, **changed)
    chosen = engine_for(model, Tokenizer())
    assert type(chosen) is engine
    for request, group in zip(requests(), chosen.sample(requests(), SAMPLING), strict=True):
        for one in group:
            expected = full_forward(model, request.prompt, one.ids, 1.0)
            assert torch.allclose(torch.tensor(one.logprobs), expected, atol=1e-4)


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
def test_a_stop_text_ends_a_rollout_with_the_token_that_completes_it(tiny: Tiny, make: Callable[[Any], Any]) -> None:
    def decode(some: list[int]) -> str:
        return "".join(f"{token:02d}." for token in some)

    engine = make(tiny("qwen3"))
    free = flat(engine.sample(requests(), SAMPLING))
    text = decode(next(one.ids for one in free if len(one.ids) > 9)[4:6])
    engine.decode = decode
    stopped = flat(engine.sample(requests(), replace(SAMPLING, stop=("never", text))))
    assert any(one != other for one, other in zip(free, stopped, strict=True))
    for one, other in zip(free, stopped, strict=True):
        place = decode(one.ids).find(text)
        if place < 0:
            assert other == one
        else:
            assert other.ids == one.ids[: (place + len(text)) // 3]
            assert other.finished


@pytest.mark.parametrize("make", [native, plain])
def test_stop_texts_need_a_way_to_decode(tiny: Tiny, make: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="decode"):
        make(tiny("qwen3")).sample(requests(), Sampling(4, stop=("x",)))


@pytest.mark.parametrize("make", [native, plain])
def test_both_engines_narrow_what_is_drawn_from(tiny: Tiny, make: Callable[[Any], Any]) -> None:
    model = tiny("qwen3_moe")
    narrow = make(model).sample(requests(), Sampling(12, 0.9, top_k=3, min_p=0.1))
    assert ids(narrow) == ids(plain(model).sample(requests(), Sampling(12, 0.9, top_k=3, min_p=0.1)))
    likeliest = make(model).sample(requests(), Sampling(12, top_k=1))
    assert ids(likeliest) == ids(make(model).sample(requests(), Sampling(12, temperature=0)))


def test_the_plain_way_is_told_with_its_reason(tiny: Tiny) -> None:
    with pytest.warns(UserWarning, match="dbrx models are not among"):
        engine_for(tiny("dbrx"), Tokenizer())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine_for(tiny("qwen3"), Tokenizer())


def flat(groups: list[list[Sampled]]) -> list[Sampled]:
    return [one for group in groups for one in group]


def ids(groups: list[list[Sampled]]) -> list[list[list[int]]]:
    return [[one.ids for one in group] for group in groups]


@pytest.mark.parametrize("family", ["mamba", "rwkv"])
def test_what_keeps_a_state_of_its_own_is_refused_in_one_line(family: str) -> None:
    config = AutoConfig.for_model(family, vocab_size=48, hidden_size=16, num_hidden_layers=2, state_size=4)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(FamilyError, match=f"{family} models keep a state of their own"):
        engine_for(model, Tokenizer())


def minimax() -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(
        "minimax", vocab_size=64, hidden_size=32, num_hidden_layers=2, intermediate_size=32, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_local_experts=4, num_experts_per_tok=2, initializer_range=0.3,
        layer_types=["linear_attention", "full_attention"],
    )).eval()


def test_transformers_still_goes_on_wrongly_behind_padding_in_a_minimax() -> None:
    """Where this fails, `UNPADDED` is needed no more."""
    model, prompt = minimax(), torch.tensor([[5, 6, 7, 8]])
    padded = torch.cat([torch.full((1, 3), 1), prompt], dim=1)
    alone, behind = (
        model.generate(ids, attention_mask=mask, max_new_tokens=2, do_sample=False, eos_token_id=None, pad_token_id=1,
                       output_logits=True, return_dict_in_generate=True)
        for ids, mask in ((prompt, torch.ones_like(prompt)), (padded, torch.tensor([[0, 0, 0, 1, 1, 1, 1]])))
    )
    first, second = ((one - other).abs().max() for one, other in zip(alone.logits, behind.logits, strict=True))
    assert first < 1e-4
    assert second > 1e-3


def test_prompts_of_several_lengths_are_not_padded_where_that_goes_wrong() -> None:
    model, asked = minimax(), requests(each=2)
    for request, group in zip(asked, plain(model).sample(asked, SAMPLING), strict=True):
        for one in group:
            expected = full_forward(model, request.prompt, one.ids, 1.0)
            assert torch.allclose(torch.tensor(one.logprobs), expected, atol=1e-3)


@pytest.mark.parametrize("engine", [native, plain])
def test_a_model_that_computes_nan_is_no_model_that_answers(tiny: Tiny, engine: Callable[..., Any]) -> None:
    model = tiny("qwen3")
    model.config.name_or_path = "runs/r/01-s/model"
    with torch.no_grad():
        model.model.norm.weight.fill_(torch.nan)
    with pytest.raises(NumbersError, match=r"the model runs/r/01-s/model computes NaN, .* float32; take a model"):
        engine(model).sample(requests(2, 1), SAMPLING)
