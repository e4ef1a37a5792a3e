"""Pretraining in phases: what is late is read last, and a training that was cut off there ends with the same bytes."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.contract.errors import StageError
from pipeline.data.corpus import Corpus
from pipeline.data.rows import Rows
from pipeline.models import pretrained, special_tokens
from pipeline.models.build import build
from pipeline.stages import pretrain
from pipeline.stages.pretrain import Pretrain
from pipeline.training.fp8.section import Fp8
from pipeline.training.probe import trace_probe
from pipeline.training.supervised import Plan

SUMS = {"facts": 1.0, "lists": 0.0, "needles": 0.0, "words": 0.0}
WORDS = {"facts": 0.0, "lists": 0.0, "needles": 0.0, "words": 1.0}
FIELDS: dict[str, Any] = {
    "tokenizer": "base", "steps": 10, "rounds": 0, "batch_size": 4, "length": 96, "corpus": SUMS,
    "late": {"share": 0.3, "corpus": WORDS}, "probe_every": 100,
    "architecture": {"model_type": "qwen3", "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16,
                     "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8},
}


def test_what_is_late_is_the_last_share_of_the_rows(
    answerer: Path, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Rows] = []
    monkeypatch.setattr(pretrain, "train", lambda *given: seen.append(given[3]) or {})
    for fields in (FIELDS, {**FIELDS, "rounds": 2, "more_steps": 2}, {**FIELDS, "late": None}):
        metrics = Pretrain.model_validate(fields).run(context(base=answerer))
        assert metrics.get("late_steps") == (3 if fields["late"] else None)

    def asks(rows: Rows, places: Sequence[int]) -> list[bool]:
        """Whether rows have a prompt, whose tokens weigh less; sums have none."""
        return [0.1 in rows[place]["weights"][1:] for place in places]

    once, longer, without = seen
    assert asks(once, [28, 27, 39, 0]) == [True, False, True, False]  # in any order, as a resumption asks
    assert asks(once, range(40)) == [False] * 28 + [True] * 12
    assert asks(longer, range(56)) == [False] * 28 + [True] * 28
    assert asks(without, range(40)) == [False] * 40
    assert [once[place] for place in range(28)] == [without[place] for place in range(28)]


def test_eight_bits_are_the_trainings(
    answerer: Path, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []
    monkeypatch.setattr(pretrain, "train", lambda *given: plans.append(given[4]) or {})
    for fp8 in (None, {"backward": "e5m2"}):
        Pretrain.model_validate({**FIELDS, "fp8": fp8}).run(context(base=answerer))
    assert [plan.fp8 for plan in plans] == [None, Fp8(backward="e5m2")]


def test_a_training_that_was_cut_off_late_ends_with_the_same_bytes(
    answerer: Path, whole_and_cut: Callable[..., tuple[bytes, bytes]]
) -> None:
    whole, cut = whole_and_cut(Pretrain.model_validate(FIELDS), every=4, at=9, base=answerer)
    assert whole == cut


def test_phases_that_do_not_fit_are_refused_when_the_recipe_is_read() -> None:
    lessons = [{"steps": 8, "corpus": SUMS}]
    with pytest.raises(ValidationError, match="the lessons take 8 and late 3 steps, and steps is 10"):
        Pretrain.model_validate({**FIELDS, "lessons": lessons})


def test_the_tokenizer_knows_the_words_of_lessons_and_of_what_is_late(
    context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(pretrain, "train", lambda *given: seen.append(given[2]) or {})
    monkeypatch.setattr(pretrain, "trace_probe", lambda *_: lambda: {"word_problems": 1.0})
    own = {key: value for key, value in FIELDS.items() if key not in ("tokenizer", "late")}
    products = {**SUMS, "facts": 0.0, "products": 1.0}
    for more in ({}, {"lessons": [{"steps": 2, "corpus": products}]}, {"late": {"share": 0.2, "corpus": products}}):
        Pretrain.model_validate({**own, **more}).run(context())
    document = next(Corpus.model_validate(products).documents(random.Random(0)))
    texts = (words.convert_ids_to_tokens(words(document.text)["input_ids"]) for words in seen)
    without, lessons, late = ("<unk>" in text for text in texts)
    assert (without, lessons, late) == (True, False, False)


GPT2: dict[str, Any] = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2}


def test_positions_are_those_of_the_architecture_by_either_name(
    answerer: Path, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(pretrain, "train", lambda *given: made.append(given[1]) or {})
    monkeypatch.setattr(pretrain, "trace_probe", lambda *_: lambda: {"word_problems": 1.0})
    for given, positions in (({}, 96), ({"n_positions": 160}, 160), ({"max_position_embeddings": 160}, 160)):
        stage = Pretrain.model_validate({**FIELDS, "architecture": {**GPT2, **given}})
        stage.run(context(base=answerer))
        assert made[-1].config.n_positions == stage.context_of_made(None) == positions
    with pytest.raises(ValidationError, match=r"architecture.n_positions \(64\) is below length \(96\)"):
        Pretrain.model_validate({**FIELDS, "architecture": {**GPT2, "n_positions": 64}})


def test_the_probe_asks_what_fits_in_learned_positions(answerer: Path) -> None:
    tokenizer = pretrained.load_tokenizer(answerer)
    for positions in (160, 80):
        model = build({**GPT2, "n_positions": positions}, len(tokenizer), 0, special_tokens.ids(tokenizer))
        assert trace_probe(model, tokenizer)() == {"word_problems": 0.0, "programs": 0.0}
    model = build({**GPT2, "n_positions": 20}, len(tokenizer), 0, special_tokens.ids(tokenizer))
    with pytest.raises(StageError, match="no trace of the probe's word_problems is as short as the 20 positions"):
        trace_probe(model, tokenizer)


def test_the_widths_of_experts_fit_the_precision_of_the_stage() -> None:
    moe = {"model_type": "qwen3_moe", "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16,
           "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "num_attention_heads": 2,
           "num_key_value_heads": 2}
    Pretrain.model_validate({**FIELDS, "architecture": moe})
    with pytest.raises(ValidationError, match="12 does not divide by 8, as experts' widths have to"):
        Pretrain.model_validate({**FIELDS, "architecture": moe, "dtype": "bfloat16"})
