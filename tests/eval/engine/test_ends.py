"""Where a rollout ends: an end of text, a limit of the stage's or of its request's, a stop text."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from eval.engine import engine_for
from eval.engine.types import Request, Sampling
from tests.eval.engine.asked import EOS, SAMPLING, Tiny, Tokenizer, flat, native, plain, requests


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
