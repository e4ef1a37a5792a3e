"""Drawing by inverse CDF: the likeliest at temperature 0, never the impossible, in proportion otherwise."""

import itertools
import math

import numpy as np
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from transformers import (
    LogitsProcessor,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from eval.engine.sampling import draw, stream, uniforms
from eval.engine.types import rollout_seed

LARGEST = float(np.nextafter(np.float32(1), np.float32(0)))
logits = st.lists(st.floats(-30, 30, width=32) | st.just(-math.inf), min_size=2, max_size=40).filter(
    lambda values: max(values) > -math.inf
)


@given(st.integers(0, 2**64 - 1), st.integers(1, 50), st.integers(0, 50))
def test_a_longer_stream_begins_like_a_shorter_one(seed: int, count: int, more: int) -> None:
    longer = uniforms(seed, count + more)
    assert (uniforms(seed, count) == longer[:count]).all()
    assert longer.dtype == np.float32
    assert (longer >= 0).all()
    assert (longer < 1).all()


@given(logits, st.floats(0, LARGEST, width=32) | st.sampled_from([0.0, LARGEST]), st.sampled_from([0.3, 1.0, 2.0]))
def test_no_impossible_token_is_drawn(values: list[float], number: float, temperature: float) -> None:
    row = torch.tensor([values])
    tokens, logprobs = draw(row, temperature, torch.tensor([number]))
    expected = torch.log_softmax(row / temperature, -1)[0, tokens[0]]
    assert logprobs[0].isfinite()
    assert math.isclose(logprobs[0], expected, rel_tol=1e-5, abs_tol=1e-6)


@given(
    st.integers(1, 1000) | st.integers(1025, 2500), st.floats(0, 0.95), st.integers(0, 2**32 - 1),
    st.floats(0, LARGEST, width=32) | st.sampled_from([0.0, LARGEST])
)
def test_the_first_token_beyond_the_number_is_drawn_in_vocabularies_of_any_size(
    size: int, impossible: float, seed: int, number: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    row = torch.randn(1, size, generator=generator) * 3
    row[torch.rand(1, size, generator=generator) < impossible] = -math.inf
    assume(row.max() > -math.inf)
    token = int(draw(row, 1.0, torch.tensor([number]))[0])
    reached = torch.softmax(row[0].double(), -1).cumsum(-1)
    assert row[0, token] > -math.inf
    # but for what sums in fp32 are rounded
    assert float(reached[token]) > number - 1e-6
    assert token == 0 or float(reached[token - 1]) <= number + 1e-6


@given(logits, st.floats(0, LARGEST, width=32))
def test_temperature_zero_takes_the_likeliest(values: list[float], number: float) -> None:
    tokens, logprobs = draw(torch.tensor([values]), 0, torch.tensor([number]))
    assert values[int(tokens[0])] == max(values)
    assert math.isclose(logprobs[0], torch.log_softmax(torch.tensor(values), -1).max(), rel_tol=1e-5, abs_tol=1e-6)


@given(st.lists(logits, min_size=1, max_size=5), st.integers(0, 2**32))
def test_a_row_is_drawn_as_if_alone(rows: list[list[float]], seed: int) -> None:
    batch = torch.full((len(rows), 40), -math.inf)
    for place, values in enumerate(rows):
        batch[place, : len(values)] = torch.tensor(values)
    numbers = torch.from_numpy(uniforms(seed, len(rows)))
    together, _ = draw(batch, 1.0, numbers)
    alone = [int(draw(batch[i : i + 1], 1.0, numbers[i : i + 1])[0]) for i in range(len(rows))]
    assert together.tolist() == alone


def test_tokens_come_in_proportion() -> None:
    row = torch.tensor([2.0, 0.0, -1.0, 1.0, -math.inf, 0.5])
    count = 40_000
    tokens, _ = draw(row.expand(count, -1), 1.0, torch.from_numpy(uniforms(rollout_seed("proportion"), count)))
    expected = torch.softmax(row, -1) * count
    seen = torch.bincount(tokens, minlength=len(row))
    possible = expected > 0
    chi_square = ((seen - expected)[possible] ** 2 / expected[possible]).sum()
    assert seen[4] == 0
    assert chi_square < 20.5  # one in a thousand at 4 degrees of freedom is 18.5


@given(st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=4), st.integers(0, 9), st.integers(0, 9))
def test_seeds_of_different_rollouts_differ(parts: list[str | int], one: int, other: int) -> None:
    seeds = rollout_seed(*parts, one), rollout_seed(*parts, other)
    assert (seeds[0] == seeds[1]) == (one == other)
    assert 0 <= seeds[0] < 2**64


@given(
    st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=20), st.floats(0, LARGEST, width=32),
    st.sampled_from([0.1, 0.5, 0.95])
)
def test_a_nucleus_holds_the_fewest_likeliest_tokens(values: list[float], number: float, top_p: float) -> None:
    row = torch.tensor([values])
    chances = sorted(
        zip(torch.softmax(row, -1)[0].tolist(), range(len(values)), strict=True), key=lambda pair: (-pair[0], pair[1])
    )
    reached, nucleus = 0.0, {}
    for chance, token in chances:
        if reached >= top_p - 1e-6:
            break
        nucleus[token] = chance
        reached += chance
    tokens, logprobs = draw(row, 1.0, torch.tensor([number]), top_p)
    edge = {token for chance, token in chances if abs(chance - chances[len(nucleus) - 1][0]) < 1e-5}
    assert int(tokens[0]) in {*nucleus, *edge}
    if abs(reached - top_p) > 1e-4 and int(tokens[0]) in nucleus and len(edge) == 1:
        assert math.isclose(math.exp(logprobs[0]), nucleus[int(tokens[0])] / reached, rel_tol=1e-3)


@given(logits, st.floats(0, LARGEST, width=32))
def test_a_nucleus_of_everything_is_plain_sampling(values: list[float], number: float) -> None:
    row, numbers = torch.tensor([values]), torch.tensor([number])
    assert [t.tolist() for t in draw(row, 0.7, numbers, 1.0)] == [t.tolist() for t in draw(row, 0.7, numbers)]


@given(st.integers(0, 2**64 - 1), st.integers(1, 700))
def test_a_stream_is_the_same_numbers(seed: int, count: int) -> None:
    assert list(itertools.islice(stream(seed), count)) == uniforms(seed, count).tolist()


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=30, unique=True),
    st.sampled_from([0.5, 1.0, 1.7]),
    st.sampled_from([1.0, 0.9, 0.5]),
    st.sampled_from([0, 1, 2, 5, 100]),
    st.sampled_from([0.0, 0.05, 0.3, 1.0]),
)
@example([0.25, -1e-12, 0.0], 0.5, 0.5, 0, 0.0)  # two that differ by less than log-probabilities tell
def test_what_is_left_to_draw_is_what_transformers_leaves(
    values: list[float], temperature: float, top_p: float, top_k: int, min_p: float
) -> None:
    scores = torch.tensor([values])
    warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(temperature)]
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    if min_p:
        warpers.append(MinPLogitsWarper(min_p))
    expected = scores
    for warper in warpers:
        expected = warper(None, expected)
    chances = torch.softmax(expected, -1)[0]
    numbers = torch.linspace(0, LARGEST, 200)
    tokens, logprobs = draw(scores.expand(200, -1), temperature, numbers, top_p, top_k, min_p)
    # where a sum of chances is top_p but for its last bits, either side may keep one token more
    sums = torch.softmax(scores[0] / temperature, -1).sort(descending=True).values.cumsum(0)
    assume(top_k > 0 or float((sums - top_p).abs().min()) > 1e-5)
    assume(top_p == 1 or top_k == 0)
    assert torch.allclose(chances[tokens], logprobs.exp(), atol=1e-5)
    widest = chances > 1 / 150
    assert set(widest.nonzero().flatten().tolist()) <= set(tokens.tolist())


def test_top_k_and_a_nucleus_come_in_transformers_order() -> None:
    scores = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.1]]))
    expected = torch.softmax(TopPLogitsWarper(0.7)(None, TopKLogitsWarper(3)(None, scores)), -1)[0]
    tokens, logprobs = draw(scores.expand(50, -1), 1.0, torch.linspace(0, LARGEST, 50), top_p=0.7, top_k=3)
    assert set(tokens.tolist()) == set(expected.nonzero().flatten().tolist())
    assert torch.allclose(expected[tokens], logprobs.exp())
