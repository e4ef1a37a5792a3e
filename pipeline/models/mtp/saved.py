"""The module's file beside a model."""

from pathlib import Path

from safetensors.torch import load_file, save_file

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.models import audit
from pipeline.models.mtp import module

FILE = "mtp.safetensors"
"""In an artifact it stands beside `model/` and not inside: transformers would pass it over there, and vLLM, which reads
every such file of a folder, would not."""


def save(model: LanguageModel, out: Path) -> None:
    """Write the module of a model, where it has one, into the folder of its artifact. Raises StageError where the file
    does not hold what is in memory."""
    own = module.of(model)
    if own is None:
        return
    state = {name: value.detach().cpu().contiguous() for name, value in own.state_dict().items()}
    save_file(state, out / FILE)
    audit.require_same(state, load_file(out / FILE), f"after saving: {out / FILE} does not hold")


def load(model: LanguageModel, place: Path | str) -> bool:
    """Give a model the module that lies beside it, and tell whether one does. Raises StageError where the file is not
    of a module of this model."""
    file = Path(place) / FILE
    if not file.is_file():
        return False
    module.require_possible(model.config)
    own = module.Mtp(model)
    try:
        own.load_state_dict(load_file(file))
    except (OSError, ValueError, RuntimeError) as error:  # what safetensors and torch raise for other bytes or shapes
        said = " ".join(str(error).split())
        raise StageError(f"{file} is not the MTP module of this model: {said}") from error
    module.attach(model, own)
    return True
