"""Building, loading and saving models as transformers knows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.contract import processes
from pipeline.contract.errors import StageError
from pipeline.models import audit
from pipeline.moe.families import FAMILIES


def build(architecture: Mapping[str, Any], vocabulary: int, seed: int) -> Any:
    """A new causal language model of this architecture: `model_type` and fields of its transformers config.

    Every embedding row starts from one shared random vector: tied embeddings otherwise begin near zero mean, and the
    first steps go into learning the frequency of tokens. Raises StageError where transformers refuses the fields.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, AutoModelForCausalLM, set_seed

    from pipeline.models.tokenizer import SPECIALS

    special = {f"{name}_token_id": SPECIALS.index(f"<{name}>") for name in ("pad", "bos", "eos")}
    fields = {"vocab_size": vocabulary, "tie_word_embeddings": True, **special, **architecture}
    model_type = fields.pop("model_type", None)
    if model_type is None:
        raise StageError("the architecture has no model_type; give one that transformers knows, such as deepseek_v3")
    set_seed(seed)
    try:
        config = AutoConfig.for_model(model_type, **fields)
        model = AutoModelForCausalLM.from_config(config)
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        said = " ".join(str(error).split())
        raise StageError(f"transformers does not build this architecture ({model_type}): {said}") from error
    with torch.no_grad():
        shared = torch.randn(config.hidden_size)
        model.get_input_embeddings().weight += 0.06 * shared
    return prepare(model)


def prepare(model: Any) -> Any:
    """Choose the experts' implementation: `grouped_mm` is right and fast on CPUs and GPUs; dense models have none."""
    family = FAMILIES.get(model.config.model_type)
    if family and family.grouped:
        model.set_experts_implementation("grouped_mm")
    return model


def load(path: Path | str) -> tuple[Any, Any]:
    """(model, tokenizer) of a model artifact, a local folder or a hub id, in the precision it was saved in."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = model_folder(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    except (OSError, ValueError, SafetensorError) as error:
        raise StageError(f"{path} does not load as a model: {str(error).splitlines()[0]}") from error
    return prepare(model), tokenizer


def model_folder(path: Path | str) -> Path | str:
    """Where the weights are: artifacts keep them under `model/`, other folders hold them directly."""
    inner = Path(path) / "model"
    return inner if inner.is_dir() else path


def sha256(path: Path | str) -> str:
    """SHA-256 over the files of a local model folder (weights, config and tokenizer, by name); of a hub id its commit."""
    from pipeline.recipe import inputs

    folder = model_folder(path)
    if isinstance(folder, Path) and folder.is_dir():
        return inputs.fingerprint_of_path(folder)
    try:
        return inputs.resolve_hub(inputs.Source(str(folder), "model", "hub"))
    except inputs.InputError as error:
        raise StageError(str(error)) from error


def save(model: Any, tokenizer: Any, out: Path) -> None:
    """Write model and tokenizer, chat template included, under `out`/model; of several processes the first does.

    Raises StageError where what was written is not the model.
    """
    if not processes.is_first():
        return
    tokenizer.init_kwargs.pop("local_files_only", None)  # how it was loaded, which transformers saves as a property of it
    model.save_pretrained(out / "model")
    audit.check(model, out / "model", "after saving")
    tokenizer.save_pretrained(out / "model")


def parameters(model: Any) -> int:
    """How many parameters the model has; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def context_length(model: Any) -> int | None:
    """How many tokens the model can be given; None where rotary positions set no limit but quality."""
    config = model.config.get_text_config()
    rotary = config.to_dict().get("rope_parameters")
    return None if rotary else getattr(config, "max_position_embeddings", None)
