"""Loading and saving models as transformers knows them."""

from pathlib import Path

from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract import processes
from pipeline.contract.errors import StageError
from pipeline.models import audit
from pipeline.models.build import prepare
from pipeline.recipe import inputs


def load(path: Path | str) -> tuple[LanguageModel, Tokenizer]:
    """(model, tokenizer) of a model artifact, a local folder or a hub id, in the precision it was saved in."""
    folder = model_folder(path)
    try:
        # Code that a model's folder brings along is never run; unless told so, transformers asks on the terminal.
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", trust_remote_code=False)
    except (OSError, ValueError, SafetensorError) as error:
        raise StageError(f"{path} does not load as a model: {str(error).splitlines()[0]}") from error
    return prepare(model), tokenizer


def model_folder(path: Path | str) -> Path | str:
    """Where the weights are: artifacts keep them under `model/`, other folders hold them directly."""
    inner = Path(path) / "model"
    return inner if inner.is_dir() else path


def sha256(path: Path | str) -> str:
    """SHA-256 over the files of a local model folder (weights, config and tokenizer, by name); of a hub id its
    commit."""
    folder = model_folder(path)
    if isinstance(folder, Path) and folder.is_dir():
        return inputs.fingerprint_of_path(folder)
    try:
        return inputs.resolve_hub(inputs.Source(str(folder), "model", "hub"))
    except inputs.InputError as error:
        raise StageError(str(error)) from error


def save(model: LanguageModel, tokenizer: Tokenizer, out: Path) -> None:
    """Write model and tokenizer, chat template included, under `out`/model; of several processes the first does.

    Raises StageError where what was written is not the model.
    """
    if not processes.is_first():
        return
    # how it was loaded, which transformers saves as a property of it
    tokenizer.init_kwargs.pop("local_files_only", None)
    model.save_pretrained(out / "model")
    audit.check(model, out / "model", "after saving")
    tokenizer.save_pretrained(out / "model")


def parameters(model: LanguageModel) -> int:
    """How many parameters the model has; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def context_length(model: LanguageModel) -> int | None:
    """How many tokens the model can be given; None where rotary positions set no limit but quality."""
    config = model.config.get_text_config()
    rotary = config.to_dict().get("rope_parameters")
    # Rotary positions can be computed for any length; learned ones end.
    return None if rotary else getattr(config, "max_position_embeddings", None)
