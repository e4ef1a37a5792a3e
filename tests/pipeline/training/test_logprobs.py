"""Log-probabilities are trl's, from logits held at once or through its tiles, and so are their gradients."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from trl import GRPOConfig, GRPOTrainer
from trl.kernels import ChunkedLogProbFunction

from pipeline.contract.errors import StageError
from pipeline.models.tokenizer import train_tokenizer
from pipeline.training import logprobs
from pipeline.training.logprobs import completion_logprobs, fused_head, token_logprobs

TOKENIZER = train_tokenizer(["<think>So 3.</think><answer>3</answer>"], 64)
FAMILIES = ["qwen3", "deepseek_v3", "gpt_oss"]
COUNT = 7
TEMPERATURE = 0.7
IDS = torch.randint(4, len(TOKENIZER), (5, 12), generator=torch.Generator().manual_seed(0))
MASK = torch.ones_like(IDS)
for row in range(5):  # prompts are padded on the left, completions on the right
    MASK[row, :row] = 0
    MASK[row, 12 - row :] = 0


def made(tiny: Callable[..., Any], family: str, temperature: float, folder: Path) -> tuple[GRPOTrainer, Any]:
    """A trainer of trl and its model, which trl gave its fused head."""
    model = tiny(family, vocab_size=len(TOKENIZER), initializer_range=0.1)
    args = GRPOConfig(
        str(folder), temperature=temperature, num_generations=2, per_device_train_batch_size=2, use_cpu=True,
        bf16=False, gradient_checkpointing=False, report_to=[],
    )
    return GRPOTrainer(model, lambda completion_ids, **_: [0.0] * len(completion_ids), args=args,
                       processing_class=TOKENIZER, train_dataset=Dataset.from_list([{"prompt": "3"}])), model


def gradients(model: Any, values: Tensor) -> list[Tensor]:
    model.zero_grad()
    (values * torch.arange(float(values.numel())).view_as(values)).sum().backward()
    found = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert any(gradient.abs().max() > 1 for gradient in found)
    return [gradient.clone() for gradient in found]


@pytest.mark.parametrize("family", FAMILIES)
def test_those_of_completions(tiny: Callable[..., Any], tmp_path: Path, family: str) -> None:
    trainer, model = made(tiny, family, TEMPERATURE, tmp_path)
    ours, entropies = completion_logprobs(model, IDS, MASK, COUNT, TEMPERATURE)
    theirs, their_entropies, _ = trainer._get_per_token_logps_and_entropies(
        model, IDS, MASK, COUNT, compute_entropy=True
    )
    kept = MASK[:, -COUNT:].bool()
    assert (ours[~kept] == 0).all()
    assert (entropies[~kept] == 0).all()
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(entropies[kept], their_entropies[kept], atol=1e-5)
    for one, other in zip(gradients(model, ours), gradients(model, theirs), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["jamba", "qwen3_moe"])
def test_padding_changes_nothing(tiny: Callable[..., Any], family: str) -> None:
    """Mamba's layers read from left to right, and must not read padding on either side."""
    model = tiny(family, vocab_size=len(TOKENIZER))
    found = completion_logprobs(model, IDS, MASK, COUNT, TEMPERATURE)[0]
    for row in range(1, 5):
        real = slice(row, 12 - row)
        count = COUNT - row  # of the completion, without its padding
        alone = completion_logprobs(model, IDS[row : row + 1, real], MASK[row : row + 1, real], count, TEMPERATURE)[0]
        assert alone.abs().max() > 1
        assert torch.allclose(found[row, :count], alone[0], rtol=0, atol=1e-5)


def test_a_model_that_would_read_padding_is_refused(tiny: Callable[..., Any]) -> None:
    with pytest.raises(StageError, match="jamba models with mamba_proj_bias are none that can be padded"):
        tiny("jamba", mamba_proj_bias=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_those_of_completions_by_slices_of_tokens(
    tiny: Callable[..., Any], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a temperature, with entropies and gradients, as from logits that are held."""
    model = tiny(family, vocab_size=len(TOKENIZER), initializer_range=0.1)
    held, entropies = completion_logprobs(model, IDS, MASK, COUNT, TEMPERATURE)
    monkeypatch.setattr(logprobs, "LOGITS", 0)
    monkeypatch.setattr(logprobs, "SLICE", 4 * model.config.vocab_size)
    sliced, their_entropies = completion_logprobs(model, IDS, MASK, COUNT, TEMPERATURE)
    assert torch.allclose(sliced, held, atol=1e-5)
    assert torch.allclose(their_entropies, entropies, atol=1e-5)
    for one, other in zip(gradients(model, sliced), gradients(model, held), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ["held", "slices", "fused"])
def test_entropies_that_are_to_move_the_model_have_trls_gradient(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    trainer, model = made(tiny, "qwen3", TEMPERATURE, tmp_path)
    theirs = trainer._get_per_token_logps_and_entropies(model, IDS, MASK, COUNT, compute_entropy=True)[1]
    monkeypatch.setattr(logprobs, "SLICE", 4 * model.config.vocab_size)
    if way != "held":
        monkeypatch.setattr(logprobs, "LOGITS", 0)
    if way == "fused":  # as on GPUs and of sharded models
        monkeypatch.setattr(logprobs, "head_alone", lambda _: False)
    else:
        assert not completion_logprobs(model, IDS, MASK, COUNT, TEMPERATURE)[1].requires_grad
    ours = completion_logprobs(model, IDS, MASK, COUNT, TEMPERATURE, entropy_moves=True)[1]
    kept = MASK[:, -COUNT:]
    for one, other in zip(gradients(model, ours * kept), gradients(model, theirs * kept), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_an_entropy_is_that_of_its_formula() -> None:
    logits = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    every = logits.log_softmax(dim=-1)
    assert torch.autograd.gradcheck(lambda given: logprobs._Entropy.apply(given), (every.detach().requires_grad_(),))
    assert torch.allclose(logprobs._Entropy.apply(every), -(every.exp() * every).sum(dim=-1))


@pytest.mark.parametrize("family", FAMILIES)
def test_those_of_tokens(
    tiny: Callable[..., Any], tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model = made(tiny, family, 1.0, tmp_path)  # trl gives the model its fused head
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": IDS.masked_fill(MASK == 0, -100)}
    ours = token_logprobs(model, batch)
    monkeypatch.setattr(logprobs, "LOGITS", 0)
    monkeypatch.setattr(logprobs, "SLICE", 9 * model.config.vocab_size)  # slices of 9 tokens
    sliced = token_logprobs(model, batch)
    monkeypatch.setattr(logprobs, "head_alone", lambda _: False)
    theirs = token_logprobs(model, batch)
    assert (ours[MASK[:, 1:] == 0] == 0).all()
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(sliced, theirs, atol=1e-5)
    expected = gradients(model, theirs)
    for values in (ours, sliced):
        for one, other in zip(gradients(model, values), expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_where_no_token_is_wanted_there_is_a_loss_with_a_graph(
    tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("qwen3", vocab_size=len(TOKENIZER))
    monkeypatch.setattr(logprobs, "LOGITS", 0)
    nothing = torch.full_like(IDS, -100)
    values = token_logprobs(model, {"input_ids": IDS, "attention_mask": MASK, "labels": nothing})
    values.sum().backward()
    assert (values == 0).all()


@pytest.mark.parametrize(("field", "value"), [("final_logit_softcapping", 30.0), ("logit_scale", 0.5)])
def test_families_that_change_their_logits_are_left_to_trl(tiny: Callable[..., Any], field: str, value: float) -> None:
    model = tiny("qwen3", vocab_size=len(TOKENIZER))
    assert logprobs.head_alone(model)
    setattr(model.config, field, value)
    assert not logprobs.head_alone(model)


@pytest.mark.parametrize(("family", "fields"), [
    ("recurrent_gemma", {"lru_width": 32, "attention_window_size": 16, "num_key_value_heads": 1}),
    ("inkling_text", {}),
])
def test_families_whose_logits_nobody_else_makes_right_have_them_held(
    family: str, fields: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"vocab_size": len(TOKENIZER), "hidden_size": 32, "num_hidden_layers": 3,
             "intermediate_size": 48, "head_dim": 8, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**sizes, **fields})).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.normal_(0.0, 30.0)
        expected = torch.log_softmax(model(IDS).logits[:, :-1], -1).gather(-1, IDS[:, 1:, None])[..., 0]
        monkeypatch.setattr(logprobs, "LOGITS", 0)
        assert not logprobs.head_alone(model)
        found = token_logprobs(model, {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "labels": IDS})
    assert torch.allclose(found, expected, atol=1e-3)


def test_what_a_model_is_wrapped_in_has_another_config(tiny: Callable[..., Any]) -> None:
    model = tiny("qwen3", vocab_size=len(TOKENIZER))
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        wrapped: Any = torch.nn.parallel.DistributedDataParallel(model)
        wrapped.config = {"zero_optimization": {}}  # as DeepSpeed's engine has it
        assert not logprobs.few(wrapped, IDS, COUNT)
    finally:
        torch.distributed.destroy_process_group()


def test_no_other_family_of_transformers_makes_more_of_its_logits() -> None:
    """Where this fails, what that family makes of its logits has to be known to logprobs.py, or they to be held."""
    known, causal = logprobs._CHANGED_AFTER + logprobs._UNKNOWN_TO_TRL, {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()}
    found = {}
    for file in Path(transformers.models.__file__).parent.glob("*/modeling_*.py"):
        text = file.read_text()
        for place in re.finditer(r"^class (\w+)\(.*?(?=^class |\Z)", text, re.DOTALL | re.MULTILINE):
            body = place.group()[place.group().find("def forward"):]
            if place.group(1) in causal and _MADE_MORE_OF.search(body):
                found[place.group(1)] = any(name in body for name in known)
    # Inkling 2 has its cap in a module of its own.
    assert [name for name, is_known in found.items() if not is_known] == []
    assert {"Gemma2ForCausalLM", "GraniteForCausalLM", "FalconH1ForCausalLM", "RecurrentGemmaForCausalLM"} <= {*found}


_MADE_MORE_OF = re.compile(
    r"^\s+(?:logits = .*(?:logits [*/]|lm_head\(.*\) [*/]|cap\(|tanh)|hidden_states = [\w.]*hidden_states? [*/])",
    re.MULTILINE,
)


def test_sharded_models_are_left_to_trl(tiny: Callable[..., Any]) -> None:
    model = tiny("qwen3", vocab_size=len(TOKENIZER))
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        assert not logprobs.head_alone(model)
    finally:
        torch.distributed.destroy_process_group()


def test_what_is_too_large_to_hold_goes_through_the_fused_head(
    tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("qwen3", vocab_size=len(TOKENIZER), initializer_range=0.1)
    fused: list[bool] = []
    monkeypatch.setattr(logprobs, "head_alone", lambda _: False)  # as in several processes, and on GPUs
    monkeypatch.setattr(logprobs, "LOGITS", 5 * COUNT * model.config.vocab_size)
    with fused_head(model, TEMPERATURE):
        own = model.forward
        model.forward = lambda *args, **given: (fused.append(bool(given.get("fused_lm_head"))), own(*args, **given))[1]
        small = completion_logprobs(model, IDS, MASK, COUNT, TEMPERATURE)
        monkeypatch.setattr(logprobs, "LOGITS", logprobs.LOGITS - 1)
        large = completion_logprobs(model, IDS, MASK, COUNT, TEMPERATURE)
    assert fused == [False, True]
    kept = MASK[:, -COUNT:].bool()
    assert torch.allclose(small[0], large[0], atol=1e-5)
    assert torch.allclose(small[1][kept], large[1][kept], atol=1e-5)
    assert "forward" not in vars(model)


def test_trl_still_scores_prompts_and_padding_on_cpus(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it does not any more, `completion_logprobs` may be no faster: measure it by `retort bench train`, and take
    it out."""
    trainer, model = made(tiny, "qwen3", 1.0, tmp_path)
    scored: list[int] = []

    class Counted:
        @staticmethod
        def apply(hidden: Tensor, *rest: Any) -> Any:
            scored.append(len(hidden))
            return ChunkedLogProbFunction.apply(hidden, *rest)

    monkeypatch.setattr("trl.trainer.utils._ChunkedLogProbFunction", Counted)
    trainer._get_per_token_logps_and_entropies(model, IDS, MASK, COUNT)
    assert scored == [IDS.shape[0] * (IDS.shape[1] - 1)]
    assert scored[0] > int(MASK[:, -COUNT:].sum())
