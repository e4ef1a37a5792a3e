"""Adapters on layers and on fused experts: trained alone, saved as peft does, merged into a model that transformers
loads."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from peft import AdaptionPromptConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from eval.engine import engine_for
from eval.engine.plain import PlainEngine
from pipeline.contract.errors import StageError
from pipeline.models import pretrained
from pipeline.models.lora import Lora, adapted, add
from pipeline.models.tokenizer import train_tokenizer
from pipeline.training.optimizer.muon import Muon

ROUTERS = [f"transformer.blocks.{layer}.ffn.router.layer" for layer in (0, 1)] + [
    f"model.layers.{layer}.mlp.shared_expert_gate" for layer in (0, 1)
]
NOT_CALLED = "model.layers.0.mamba.dt_proj"
Tiny = Callable[..., Any]
Context = Callable[..., Any]


@pytest.mark.parametrize("family", [
    "deepseek_v3", "qwen3_moe", "qwen3", "mixtral", "olmoe", "qwen2_moe", "deepseek_v2", "gpt_oss", "dbrx",
    "qwen3_moe_every_second", "jamba",
])
def test_adapters_are_trained_alone_saved_and_merged(tiny: Tiny, context: Context, tmp_path: Path, family: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model, ctx = tiny(family), context()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ids = torch.randint(4, 48, (2, 9), generator=torch.Generator().manual_seed(0))
    with adapted(model, Lora(rank=4), ctx, "base"):
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert all(".lora_" in name for name in trained)
        assert any(".experts." in name for name in trained) == (family not in ("qwen3", "dbrx"))
        assert not any(".gate." in name or ".router." in name or "head" in name for name in trained)
        layers = [
            name
            for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and ".lora_" not in name
        ]
        assert {
            name.removesuffix(".base_layer") for name in layers if ".base_layer" not in name
        } <= {"lm_head", NOT_CALLED, *ROUTERS}
        optimizer = Muon(model.named_parameters(), 0.1, 0.02)
        assert not any(group["muon"] for group in optimizer.param_groups)
        losses = []
        for _ in range(8):
            loss = model(input_ids=ids, labels=ids).loss
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[-1] < losses[0] - 0.1
        expected = model(input_ids=ids).logits.detach()
    after = model.state_dict()
    assert set(after) == set(before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("proj" in name for name in changed)
    assert not any("norm" in name.split(".")[-2] or "embed" in name for name in changed)
    assert torch.allclose(model(input_ids=ids).logits, expected, atol=1e-3)
    model.save_pretrained(tmp_path / "merged")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.allclose(loaded(input_ids=ids).logits, expected, atol=1e-3)
    alone = PeftModel.from_pretrained(tiny(family), ctx.out / "adapter")
    assert torch.allclose(alone(input_ids=ids).logits, expected, atol=1e-3)


def test_what_is_saved_does_not_say_where_the_base_lay(tiny: Tiny, context: Context, tmp_path: Path) -> None:
    tiny("qwen3").save_pretrained(tmp_path / "base")
    model, ctx = AutoModelForCausalLM.from_pretrained(tmp_path / "base"), context()
    with adapted(model, Lora(rank=4), ctx, "base"):
        pass
    files = list((ctx.out / "adapter").iterdir())
    assert files
    assert not any(str(tmp_path).encode() in file.read_bytes() for file in files)


def test_adapters_can_be_put_on_some_layers(tiny: Tiny, context: Context) -> None:
    model, ctx = tiny("qwen3_moe"), context()
    with adapted(model, Lora(rank=2, targets=["q_proj"], experts=False), ctx, "base"):
        assert {name.split(".")[-4] for name, p in model.named_parameters() if p.requires_grad} == {"q_proj"}


@pytest.mark.parametrize("family", ["dbrx", "qwen3"])
def test_experts_that_are_not_there_are_refused(tiny: Tiny, context: Context, family: str) -> None:
    with pytest.raises(StageError, match="no fused experts to adapt"), adapted(
        tiny(family), Lora(experts=True), context(), "base"
    ):
        pass


def test_a_model_with_adapters_is_sampled_with_them(tiny: Tiny, context: Context) -> None:
    model, ctx = tiny("deepseek_v3"), context()
    tokenizer = train_tokenizer(["a"], 64)
    assert not isinstance(engine_for(model, tokenizer), PlainEngine)
    with adapted(model, Lora(rank=2), ctx, "base"):
        assert isinstance(engine_for(model, tokenizer), PlainEngine)


def test_the_same_seed_gives_the_same_adapters(tiny: Tiny, context: Context) -> None:
    def drawn() -> list[torch.Tensor]:
        model = tiny("qwen3")
        with adapted(model, Lora(rank=2), context(), "base"):
            return [p.detach().clone() for p in model.parameters() if p.requires_grad]

    assert all(torch.equal(one, other) for one, other in zip(drawn(), drawn(), strict=True))


def test_a_router_that_is_called_so_gets_no_adapter() -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(
        "phimoe", vocab_size=48, hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=64,
    ))
    assert any(name.endswith(".router") for name, _ in model.named_modules())
    adapted_model = add(model, Lora(rank=2), 0)
    assert not [name for name, _ in adapted_model.named_parameters() if "router" in name and "lora_" in name]


def test_a_model_that_is_given_as_an_adapter_can_be_trained(tiny: Tiny, context: Context, tmp_path: Path) -> None:
    tokenizer, base, ctx = train_tokenizer(["a b c"], 64), tmp_path / "base", context()
    model = tiny("qwen3", vocab_size=len(tokenizer))
    pretrained.save(model, tokenizer, tmp_path)
    (tmp_path / "model").rename(base)
    with adapted(model, Lora(rank=2), ctx, str(base)):
        pass
    file = ctx.out / "adapter" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": str(base)}))
    loaded, _ = pretrained.load(ctx.out / "adapter")
    assert all(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("learned", [
    partial(PromptTuningConfig, num_virtual_tokens=4), partial(PrefixTuningConfig, num_virtual_tokens=4),
    partial(AdaptionPromptConfig, adapter_len=4, adapter_layers=1),
])
def test_an_adapter_that_learns_a_prompt_is_refused(tiny: Tiny, tmp_path: Path, learned: Any) -> None:
    tokenizer, base = train_tokenizer(["a b c"], 64), tmp_path / "model"
    model = tiny("llama", vocab_size=len(tokenizer))
    pretrained.save(model, tokenizer, tmp_path)
    wrapped = get_peft_model(model, learned(task_type="CAUSAL_LM"))
    wrapped.active_peft_config.base_model_name_or_path = str(base)
    wrapped.save_pretrained(tmp_path / "adapter")
    with pytest.raises(StageError, match=r"an adapter that learns a prompt \([A-Z_]+\) changes no weights"):
        pretrained.load(tmp_path / "adapter")


def test_an_adapter_of_the_hub_is_put_on_its_base(
    tiny: Tiny, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    tokenizer, base, ctx = train_tokenizer(["a b c"], 64), tmp_path / "base", context()
    model = tiny("qwen3", vocab_size=len(tokenizer))
    pretrained.save(model, tokenizer, tmp_path)
    (tmp_path / "model").rename(base)
    with adapted(model, Lora(rank=2), ctx, str(base)), torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_()
    file = ctx.out / "adapter" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": str(base)}))
    cached, commit = tmp_path / "hub" / "models--org--some", "c0ffee" * 6 + "c0de"
    (cached / "snapshots").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    (ctx.out / "adapter").rename(cached / "snapshots" / commit)
    ids = torch.tensor([[4, 5, 6]])
    with torch.no_grad():
        alone, whole = (pretrained.load(place)[0].eval()(ids).logits for place in (base, "org/some"))
    assert (alone - whole).abs().max() > 1e-3


@pytest.mark.parametrize(("family", "targets"), [
    ("qwen3", ["q_prj"]), ("qwen3", ["q_proj", "v_prj"]), ("qwen3_moe", ["q_prj"])
])
def test_a_target_that_is_no_layer_is_told(tiny: Tiny, family: str, targets: list[str]) -> None:
    with pytest.raises(StageError, match=f"no linear layer's name ends in '{targets[-1]}'; {family} models have"):
        add(tiny(family), Lora(rank=4, targets=targets), 0)


def test_a_model_without_linear_layers_is_told() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=48, n_embd=32, n_layer=1, n_head=2, n_positions=32))
    with pytest.raises(StageError, match="gpt2 models have no linear layers or experts to adapt"):
        add(model, Lora(rank=4), 0)
