"""Models: built by the fields of their config, saved so that transformers loads them, refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.contract.errors import StageError
from pipeline.models import pretrained
from pipeline.models.build import build
from pipeline.models.tokenizer import train_tokenizer
from tests.conftest import TINY

Tiny = Callable[..., Any]
SMALL = {"model_type": "qwen3", "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16, "head_dim": 8,
         "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 40}


@pytest.fixture
def saved(tiny: Tiny, tmp_path: Path) -> Path:
    tokenizer = train_tokenizer(["Tom has 3 apples."], 64)
    pretrained.save(tiny("deepseek_v3", vocab_size=len(tokenizer)), tokenizer, tmp_path / "artifact")
    return tmp_path / "artifact"


def test_the_same_seed_builds_the_same_model() -> None:
    first, second, other = (build(SMALL, 50, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_embeddings_start_around_one_vector() -> None:
    rows = build(SMALL, 500, 0).get_input_embeddings().weight
    assert rows.mean(0).norm() > 0.03 * rows.shape[1] ** 0.5


def test_only_learned_positions_set_a_limit(tiny: Callable[..., Any]) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    learned = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=40, n_embd=16, n_layer=1, n_head=2))
    assert pretrained.context_length(learned) == 40
    assert pretrained.context_length(build(SMALL, 50, 0)) is None
    assert [pretrained.context_length(tiny(family)) for family in ("jamba", "dbrx")] == [None, None]


def test_tied_parameters_count_once() -> None:
    tied, untied = (build({**SMALL, "tie_word_embeddings": tie}, 50, 0) for tie in (True, False))
    assert pretrained.parameters(untied) - pretrained.parameters(tied) == 50 * 16


@pytest.mark.parametrize(("changed", "said"), [
    ({"model_type": None}, "the architecture has no model_type; "),
    ({"model_type": "qwen33"}, "transformers does not build this architecture (qwen33): "),
    ({"hidden_size": "wide"}, "transformers does not build this architecture (qwen3): "),
    ({"hidden_act": "sillu"}, "transformers does not build this architecture (qwen3): "),
])
def test_what_transformers_refuses_is_one_line(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(StageError) as caught:
        build({**SMALL, **changed}, 50, 0)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_saved_model_is_the_same_when_loaded(saved: Path, tiny: Tiny) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = torch.tensor([[2, 7, 9, 30]])
    tokenizer = AutoTokenizer.from_pretrained(saved / "model")
    expected = tiny("deepseek_v3", vocab_size=len(tokenizer))(ids).logits
    assert torch.equal(AutoModelForCausalLM.from_pretrained(saved / "model").eval()(ids).logits, expected)
    for place in (saved, saved / "model"):
        model, loaded = pretrained.load(place)
        assert torch.allclose(model.eval()(ids).logits, expected, atol=1e-5)
        assert loaded.chat_template == tokenizer.chat_template is not None


@pytest.mark.parametrize(("found", "kept"), [
    ({"temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_p": 0.9, "do_sample": True}),
    ({"temperature": 0.6, "num_beams": 1, "length_penalty": 0.5}, {}),
    ({"temperature": 0.6, "do_sample": True}, {"temperature": 0.6, "do_sample": True}),
])
def test_what_transformers_would_not_save_of_how_a_model_draws_is_settled(
    saved: Path, tmp_path: Path, found: dict[str, Any], kept: dict[str, Any]
) -> None:
    (saved / "model" / "generation_config.json").write_text(json.dumps({**found, "eos_token_id": [3, 5]}))
    pretrained.save(*pretrained.load(saved), tmp_path / "again")
    again = json.loads((tmp_path / "again" / "model" / "generation_config.json").read_text())
    assert {name: value for name, value in again.items() if name != "transformers_version"} == {
        **kept, "eos_token_id": [3, 5]
    }


@pytest.mark.parametrize("said", [{"output_attentions": True}, {"output_hidden_states": True}, {"return_dict": False}])
def test_what_a_config_gives_back_beside_logits_is_settled(saved: Path, tmp_path: Path, said: dict[str, bool]) -> None:
    """A look at attention leaves the first in it, with which transformers saves no model that computes by sdpa."""
    file = saved / "model" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **said}))
    model, tokenizer = pretrained.load(saved)
    assert model(torch.tensor([[2, 7]])).hidden_states is None
    pretrained.save(model, tokenizer, tmp_path / "again")
    again = json.loads((tmp_path / "again" / "model" / "config.json").read_text())
    assert not said.items() & again.items()


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def break_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "nonesuch"}))


def break_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])


def break_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


def lose_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def lose_head(folder: Path) -> None:
    rename_weights(folder, lambda name: "" if name == "lm_head.weight" else name)


def save_compiled(folder: Path) -> None:
    rename_weights(folder, lambda name: f"_orig_mod.{name}")


def rename_weights(folder: Path, new: Callable[[str], str]) -> None:
    """Weights whose new name is empty are left out."""
    state = load_file(folder / "model.safetensors")
    kept = {new(name): value for name, value in state.items() if new(name)}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def lose_everything(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    "damage", [break_config, break_family, break_weights, break_tokenizer, lose_weights, save_compiled, lose_everything]
)
def test_what_does_not_load_is_one_line(saved: Path, damage: Callable[[Path], None]) -> None:
    damage(saved / "model")
    with pytest.raises(StageError) as caught:
        pretrained.load(saved)
    assert str(caught.value).startswith(f"{saved} does not load as a model: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("damage", "said"), [
    (lose_head, "lm_head.weight"),
    (save_compiled, "lm_head.weight, model.embed_tokens.weight, model.layers.0.input_layernorm.weight and 11 more; "
                    "its files have names with '_orig_mod.', which torch.compile puts there: save the model that is "
                    "inside of it"),
])
def test_weights_that_are_missing_are_not_drawn_at_random(
    tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    tokenizer = train_tokenizer(["Tom has 3 apples."], 64)
    untied = build({**SMALL, "tie_word_embeddings": False}, len(tokenizer), 0)
    pretrained.save(untied, tokenizer, tmp_path)
    damage(tmp_path / "model")
    with pytest.raises(StageError) as caught:
        pretrained.load(tmp_path)
    assert str(caught.value) == (f"{tmp_path} does not load as a model: its files lack weights, which would be drawn "
                                 f"at random: {said}")


@pytest.mark.parametrize("family", TINY)
def test_nothing_is_missing_of_a_whole_model(tmp_path: Path, tiny: Tiny, family: str) -> None:
    tokenizer = train_tokenizer(["Tom has 3 apples."], 64)
    tiny(family, vocab_size=len(tokenizer)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pretrained.load(tmp_path)
