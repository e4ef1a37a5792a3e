"""Making models as transformers knows them, and what every model needs before it is used."""

from collections.abc import Mapping

import torch
from transformers import AutoConfig, AutoModelForCausalLM, set_seed

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonObject
from pipeline.models import origin
from pipeline.models.checks.config_source import settled
from pipeline.models.tokenizer import SPECIALS
from pipeline.moe.experts import IMPLEMENTATION
from pipeline.moe.families import FAMILIES

OWN = {f"{name}_token_id": SPECIALS.index(f"<{name}>") for name in ("pad", "bos", "eos")}
"""Where the tokenizer that is made here has its special tokens."""


def build(
    architecture: JsonObject, vocabulary: int, seed: int, special: Mapping[str, int | None] = OWN
) -> LanguageModel:
    """A new causal language model of this architecture: `model_type` and fields of its transformers config. `special`
    are the ids of the tokenizer's special tokens.

    Every embedding row starts from one shared random vector: tied embeddings otherwise begin near zero mean, and the
    first steps go into learning the frequency of tokens. Raises StageError where transformers refuses the fields.
    """
    fields = settled({"vocab_size": vocabulary, "tie_word_embeddings": True, **special, **architecture})
    model_type = fields.pop("model_type", None)
    if model_type is None:
        raise StageError("the architecture has no model_type; give one that transformers knows, such as deepseek_v3")
    if fields["vocab_size"] < vocabulary:
        raise StageError(f"vocab_size {fields['vocab_size']} is below the tokenizer's {vocabulary}; leave it out")
    # Weights are drawn from the global streams, and so depend on nothing but the seed.
    set_seed(seed)
    try:
        config = AutoConfig.for_model(model_type, **fields)
        model = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # 189 families, each with code of its own that may raise anything for odd sizes
        said = " ".join(str(error).split())
        raise StageError(f"transformers does not build this architecture ({model_type}): {said}") from error
    with torch.no_grad():
        shared = torch.randn(config.hidden_size)
        model.get_input_embeddings().weight += 0.06 * shared
    origin.mark_from_scratch(model)
    return prepare(model)


def cast(model: LanguageModel, dtype: torch.dtype) -> None:
    """Put a model's parameters into another precision. Buffers stay as they are made: frequencies of rotary positions,
    and DeepSeek-V3's bias of its experts, are in fp32 in a model of any precision when it is loaded."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def keep_buffers(made: LanguageModel, model: LanguageModel) -> None:
    """Give a model that was built in another precision its buffers in those of `model`, whose copy it is to be."""
    dtypes = {name: buffer.dtype for name, buffer in model.named_buffers()}
    for name, buffer in made.named_buffers():
        buffer.data = buffer.data.to(dtypes.get(name, buffer.dtype))


def prepare(model: LanguageModel) -> LanguageModel:
    """Choose the experts' implementation: `grouped_mm`, in the precision of the forward, is right and fast on CPUs and
    GPUs; dense models have none.
    Raises StageError for a model that transformers computes otherwise with padding than without."""
    if model.config.model_type == "jamba" and model.config.mamba_proj_bias:
        # Padding is masked before that bias is added, and so would be read by the convolution behind it.
        raise StageError("jamba models with mamba_proj_bias are none that can be padded; no published Jamba has it")
    family = FAMILIES.get(model.config.model_type)
    if family and family.grouped:
        model.set_experts_implementation(IMPLEMENTATION)
    return model
