"""What weights are read from: a folder as transformers saves it (safetensors, sharded, or .bin), a GGUF file, an
adapter with the base that it names, or a repository of the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.contract.errors import StageError
from pipeline.disk import durable
from pipeline.recipe import inputs
from rewards.lazy import lazy

with lazy:
    from transformers import FineGrainedFP8Config, GgufConfig, Mxfp4Config


@dataclass(frozen=True)
class Weights:
    """Where `from_pretrained` finds them: a folder or hub id, the name of the GGUF file in it where they are in one,
    and the folder of the adapter that is added to them."""

    folder: Path | str
    gguf: str | None = None
    adapter: Path | None = None

    @property
    def options(self) -> dict[str, object]:
        """What `from_pretrained` of models needs to be told besides the folder. Raises StageError for weights that are
        quantized in a way that training cannot begin from."""
        if self.gguf:
            return {"gguf_file": self.gguf, "quantization_config": GgufConfig(dequantize=True)}
        method = _quantization(self.folder).get("quant_method")
        # Both are how their makers publish them, and both can be widened while they are loaded.
        if method == "mxfp4":
            return {"quantization_config": Mxfp4Config(dequantize=True)}
        if method == "fp8":
            return {"quantization_config": FineGrainedFP8Config(dequantize=True)}
        if method is not None:
            raise StageError(f"{self.folder} is quantized ({method}); give the model in full or half precision, or as "
                             "GGUF, FP8 or MXFP4, which are read as bfloat16")
        return {}

    @property
    def tokenizer_options(self) -> dict[str, str]:
        """The same for `from_pretrained` of tokenizers: that of a GGUF file is inside it, if none lies beside it."""
        own = isinstance(self.folder, Path) and (self.folder / "tokenizer.json").is_file()
        return {"gguf_file": self.gguf} if self.gguf and not own else {}

    @property
    def config_options(self) -> dict[str, str]:
        """The same for `from_pretrained` of configs."""
        return {"gguf_file": self.gguf} if self.gguf else {}

    @property
    def tokenizer_of_adapter(self) -> Path | None:
        """The folder of the adapter where it has a tokenizer, which goes before the base's."""
        # the file that peft's AutoPeftModel looks for
        return self.adapter if self.adapter and (self.adapter / "tokenizer_config.json").is_file() else None

    @property
    def base(self) -> "Weights":
        """The same without the adapter."""
        return Weights(self.folder, self.gguf)

    def __str__(self) -> str:
        if self.gguf:
            return f"the GGUF file {self.gguf}, widened"
        if self.adapter:
            own = " with its tokenizer" if self.tokenizer_of_adapter else ""
            return f"the adapter {self.adapter.name}{own} on {self.folder}"
        method = _quantization(self.folder).get("quant_method")
        return f"{method} weights, widened" if method else "saved weights"


def weights_of(path: Path | str) -> Weights:
    """What a model's place holds: an artifact (its `model/`), a folder, a .gguf file, an adapter or a hub id.

    Raises StageError where an adapter's base cannot be had, or a whole model lies beside one.
    """
    folder = model_folder(path)
    if not isinstance(folder, Path):
        return Weights(folder)
    if folder.suffix == ".gguf" and folder.is_file():
        return Weights(folder.parent, gguf=folder.name)
    try:
        if not inputs.is_adapter(folder):
            return Weights(folder)
        base = inputs.base_of_adapter(folder)
        place = base.path or inputs.download(base.repository, "model", inputs.resolve_hub(base))
    except inputs.InputError as error:
        raise StageError(str(error)) from error
    below = weights_of(place)
    if below.adapter:
        raise StageError(f"{path} is an adapter on an adapter; merge the one below first")
    return Weights(below.folder, below.gguf, adapter=folder)


def model_folder(path: Path | str) -> Path | str:
    """Where the weights are: artifacts keep them under `model/`, other folders hold them directly."""
    if isinstance(path, str) and not Path(path).exists():
        return path  # a hub id
    inner = Path(path) / "model"
    return inner if inner.is_dir() else Path(path)


def _quantization(folder: Path | str) -> Mapping[str, object]:
    """The `quantization_config` of a local config.json; nothing for a hub id, of which a model is loaded from its
    snapshot."""
    config = Path(folder) / "config.json"
    if not config.is_file():
        return {}
    try:
        found = durable.read_json(config)
    except ValueError:
        return {}  # told, with its reason, by the loading itself
    given = found.get("quantization_config") if isinstance(found, dict) else None
    return given if isinstance(given, dict) else {}
