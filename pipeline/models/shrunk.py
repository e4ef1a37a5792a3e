"""Tiny models with random weights, of the family of a large one: what `shrink: true` takes in the place of a model that
is given."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.recipe.shrink.sizes import small

ROWS = 320
"""Of the embedding: more than `byte_tokenizer` has tokens, to which transformers adds some family's own."""

LARGEST = 5_000_000
"""Parameters; a model that is left with more has sizes of other names."""

SPECIALS = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
TEMPLATE = (
    "{% if reasoning_effort is defined %}<|im_start|>system\nReasoning: {{ reasoning_effort }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""ChatML, with the options that templates of reasoning models have."""


def shrunk(config: JsonMapping) -> JsonObject:
    """The fields of a model's config.json (of text, where it reads several kinds of input) with small sizes, and the
    special tokens of `byte_tokenizer`."""
    text = config.get("text_config")
    found: JsonObject = small(text if isinstance(text, Mapping) else config)
    if found.pop("quantization_config", None):
        found["dtype"] = "bfloat16"  # what they are widened to
    for name in ("auto_map", "architectures", "transformers_version"):
        found.pop(name, None)
    tokenizer = byte_tokenizer()
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    return {**found, **ids, "vocab_size": ROWS}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token for every byte, so that any text can be asked."""
    vocabulary = [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({piece: place for place, piece in enumerate(vocabulary)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS[:3]))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=SPECIALS[0], eos_token=SPECIALS[2],
                                   chat_template=TEMPLATE, clean_up_tokenization_spaces=False)


def folder_of(cache: Path, config: JsonMapping, digest: str) -> Path:
    """The folder of the tiny model, which is made where it is not there. Raises StageError for families whose sizes
    have other names."""
    folder = cache / "shrunk" / digest
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        _make(config, Path(made) / "model")
        try:
            (Path(made) / "model").rename(folder)
        except OSError:  # another stage or process was first; both have made the same
            shutil.rmtree(Path(made) / "model")
    return folder


def _make(config: JsonMapping, folder: Path) -> None:
    fields = shrunk(config)
    kind, named, of_old = (fields.pop(name, None) for name in ("model_type", "dtype", "torch_dtype"))
    dtype = str(named or of_old or "float32")
    try:
        made = AutoConfig.for_model(kind, **fields)
        with torch.device("meta"):
            size = sum(one.numel() for one in AutoModelForCausalLM.from_config(made).parameters())
        if size > LARGEST:
            raise StageError(f"{kind}: its sizes have names that `shrink` does not know; {size:,} parameters are left")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(made, dtype=getattr(torch, dtype.removeprefix("torch.")))
    except StageError:
        raise
    except Exception as error:  # 189 families, each with code of its own that may raise anything for odd sizes
        said = " ".join(str(error).split())[:160]
        raise StageError(f"transformers does not build a tiny {kind}: {said}") from error
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
