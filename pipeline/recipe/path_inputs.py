"""What lies at a path that a recipe names as an input, looked at when the recipe is read."""

import importlib.util
import json
from pathlib import Path

from pipeline.contract import dataset
from pipeline.contract.errors import StageError
from pipeline.recipe.inputs import InputError, Source, base_of_adapter, is_adapter

_WEIGHTS = ("*.safetensors", "*.bin")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.*")


def require_usable(source: Source, *, drop: bool = False) -> None:
    """Raises InputError where a path holds no model, dataset or report that a built-in stage could use. Of a dataset
    the first rows are read, bad ones being none of it with `drop`; an artifact says by itself what it is."""
    path = source.path
    if path is None or (path / "stage.json").is_file():
        return
    if source.type == "dataset":
        try:
            dataset.glance(path, dataset.parse(source.reference).selection, drop=drop)
        except StageError as error:
            raise InputError(str(error)) from error
        return
    if source.type == "model" and path.is_file():
        _require_gguf(path, source.reference)
        return
    if source.type == "model" and is_adapter(path):
        base = base_of_adapter(path)
        if base.path is not None:
            require_usable(base)
        return
    needed, such = ("config.json", "a folder that transformers saved") if source.type == "model" else \
        ("report.json", "what an evaluate stage makes")
    folder = path / "model" if source.type == "model" and (path / "model").is_dir() else path
    if not (folder / needed).is_file():
        if source.type == "model" and (file := next(folder.glob("*.gguf"), None)):
            raise InputError(f"{source.reference!r} has no config.json, but GGUF files; name one of them: "
                             f"{source.reference.rstrip('/')}/{file.name}")
        raise InputError(f"{source.reference!r} has no {needed}; a {source.type} is {such}")
    _require_object(folder / needed)
    if source.type == "model":
        for what, patterns in (("weights", _WEIGHTS), ("tokenizer", _TOKENIZERS)):
            if not any(next(folder.glob(pattern), None) for pattern in patterns):
                raise InputError(f"{source.reference!r} has no {what} ({', '.join(patterns)})")


def _require_gguf(file: Path, reference: str) -> None:
    if file.suffix != ".gguf":
        raise InputError(f"{reference!r} is a file; a model is a folder that transformers saved, or a .gguf file")
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise InputError(f"{reference!r} is no GGUF file: it does not begin with the letters GGUF")
    if importlib.util.find_spec("gguf") is None:
        raise InputError(f"{reference!r} needs the package gguf to be read; pip install 'retort[gguf]'")


def _require_object(file: Path) -> None:
    try:
        read = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read as JSON ({' '.join(str(error).split())[:100]})") from error
    if not isinstance(read, dict):
        raise InputError(f"{file} is no JSON object")
