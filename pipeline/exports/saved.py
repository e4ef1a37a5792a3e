"""A model as a folder that transformers and vLLM load, and the rewriting of its tensors in other formats."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import CommandError
from pipeline.disk import durable
from pipeline.models import audit
from pipeline.models.shards import class_of
from pipeline.serving import weights
from rewards.lazy import lazy

with lazy:
    from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from torch import Tensor


def write(model: LanguageModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Model and tokenizer in the names of their makers: experts are tensors of their own, as vLLM wants them. Raises
    CommandError for a model that vLLM would take for another."""
    if said := weights.passed_over(model.config.to_dict()):
        raise CommandError(said)
    state = model.state_dict()
    _require_finite(state)
    model.save_pretrained(folder, state_dict=dict(state))  # a copy, from which transformers takes tied weights out
    audit.check_state(class_of(model), state, folder, "after saving")
    weights.complete(folder, model, state)
    tokenizer.init_kwargs.pop("local_files_only", None)
    tokenizer.save_pretrained(folder)


def _require_finite(state: "Mapping[str, Tensor]") -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CommandError(f"{name} has numbers that are infinite or none in {str(tensor.dtype).partition('.')[2]};"
                               " give another --type, or look at how the model was trained")


def rewrite(folder: Path, change: "Callable[[str, Tensor], dict[str, Tensor]]") -> None:
    """Put what `change` makes of each tensor in its place, one file after another."""
    places: dict[str, str] = {}
    size = 0
    for file in sorted(folder.glob("*.safetensors")):
        made: dict[str, Tensor] = {}
        for name, tensor in load_file(file).items():
            made |= change(name, tensor)
        save_file(made, file, metadata={"format": "pt"})
        places |= dict.fromkeys(made, file.name)
        size += sum(tensor.nbytes for tensor in made.values())
    if (folder / weights.INDEX).exists():
        durable.write_json(folder / weights.INDEX, {"metadata": {"total_size": size}, "weight_map": places})
