"""What is told of experts, on routings made by hand and on models of every family."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands import cli
from pipeline.models import pretrained
from pipeline.models.tokenizer import train_tokenizer
from pipeline.moe.analysis import Text, analyse, dropped, relative_load, repeats, token_decides
from pipeline.moe.families import FAMILIES
from pipeline.moe.routers import Routing, routers

Tiny = Callable[..., Any]


def text(ids: list[int], chosen: list[list[int]]) -> Text:
    return Text(torch.tensor(ids), torch.tensor(chosen), torch.ones(len(ids), len(chosen[0])).cumsum(dim=1).flip(1))


def test_load_is_over_an_even_share() -> None:
    assert relative_load(
        [text([1, 2], [[0, 1], [0, 2]]), text([1], [[0, 1]])], 4
    ) == pytest.approx([2.0, 4 / 3, 2 / 3, 0.0])


def test_a_token_that_always_goes_to_one_expert_is_told_by_its_id() -> None:
    decided = token_decides([text([5, 6, 5, 6, 5], [[0], [1], [0], [1], [0]])], 2)
    assert decided["share"] == 1.0
    # without ids: of experts (0, 0, 0, 1, 1), the rest of a 0 is a tie (2, 2), and the rest of a 1 says 0
    assert decided["without"] == pytest.approx((3 * 0.5 + 2 * 0.0) / 5)


def test_a_token_seen_once_tells_nothing() -> None:
    assert token_decides([text([5, 6, 6], [[0], [1], [1]])], 2)["share"] == 1.0  # of 6 alone


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=20))
def test_what_ids_tell_is_leaving_one_out(pairs: list[tuple[int, int]]) -> None:
    ids, experts = [p[0] for p in pairs], [p[1] for p in pairs]
    right = total = 0.0
    for place, (token, expert) in enumerate(pairs):
        rest = [e for other, (t, e) in enumerate(pairs) if t == token and other != place]
        if rest:
            best = max(map(rest.count, range(3)))
            leads = [e for e in range(3) if rest.count(e) == best]
            total, right = total + 1, right + (expert in leads) / len(leads)
    found = token_decides([text(ids, [[e] for e in experts])], 3)["share"]
    assert found is None if total == 0 else found == pytest.approx(right / total)


def test_repeats_are_of_consecutive_tokens_within_a_text() -> None:
    found = repeats([text([1, 2, 3], [[0, 1], [0, 2], [1, 2]]), text([4], [[1, 0]])], 8, 2)
    assert (found["first"], found["any"]) == (0.5, 1.0)
    assert found["first_by_chance"] == 1 / 8
    assert found["any_by_chance"] == pytest.approx(1 - 15 / 28)  # Mixtral, table 5: 46%


def test_the_end_of_a_text_is_dropped_first() -> None:
    found = dropped([text(list(range(8)), [[0]] * 8)], 4, capacity=2.0)  # an expert takes four of eight
    assert found == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("family", [*FAMILIES, "qwen3_moe_every_second"])
def test_texts_are_routed_as_one_by_one(tiny: Tiny, family: str) -> None:
    model = tiny(family).train()
    texts = [[5, 9, 14, 20], [7, 7, 8], [30] * 9]
    layers = analyse(model, {"a": texts[:2], "b": texts[2:]})
    assert model.training
    assert [layer["layer"] for layer in layers] == [router.layer for router in routers(model)]
    model.eval()
    for place, router in enumerate(routers(model)):
        seen: list[Routing] = []
        handles = router.watch(seen.append)
        with torch.no_grad():
            for ids in texts[:2]:
                model(torch.tensor([ids]), use_cache=False)
        for handle in handles:
            handle.remove()
        counts = torch.bincount(torch.cat([routing.chosen.flatten() for routing in seen]), minlength=4).float()
        assert layers[place]["load"]["a"] == pytest.approx((counts / counts.mean()).tolist())


def test_the_command(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = train_tokenizer(["some words here and other words there"], 64)
    pretrained.save(tiny("qwen3_moe", vocab_size=len(tokenizer)), tokenizer, tmp_path / "moe")
    pretrained.save(tiny("qwen3", vocab_size=len(tokenizer)), tokenizer, tmp_path / "dense")
    (tmp_path / "prose.txt").write_text("some words here\nother words there\n")
    (tmp_path / "asked.jsonl").write_text(json.dumps({"prompt": "some words", "completion": "other words"}) + "\n")
    assert cli.main(["experts", "moe", "prose.txt", "asked.jsonl"]) == 0
    told = capsys.readouterr().out
    assert "layer 0, 2 of 4 experts a token" in told
    assert "  prose" in told
    assert cli.main(["experts", "moe", "prose.txt", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"model", "tokens", "layers"}
    assert len(found["layers"]) == 2
    for words, said in (
        (("dense", "prose.txt"), "dense is a dense model"), (("moe", "nowhere"), "there is no text at 'nowhere'")
    ):
        assert cli.main(["experts", *words]) == 2
        assert said in capsys.readouterr().err
