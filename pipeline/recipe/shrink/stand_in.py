"""The tiny model that stands in for one that is given, as what a stage needs to make it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from pipeline.disk import durable
from pipeline.disk.durable import JsonObject
from pipeline.recipe.inputs import InputError, Source
from pipeline.recipe.shrink.configs import hub_config

VERSION = 2
"""Of the tiny models: another one makes them anew."""


def stand_in(source: Source) -> Source:
    """What is read in the place of a model that is given: its config, of which the stage makes a tiny one. A GGUF file
    and an adapter are taken as they are, whose sizes transformers alone can tell. Raises InputError."""
    if source.type != "model" or source.origin not in ("path", "hub"):
        return source
    config = hub_config(source) if source.path is None else _config_in(source.path)
    if config is None:
        return source
    text = json.dumps([VERSION, config], sort_keys=True)
    return replace(source, origin="shrunk", path=None, config=config, commit=hashlib.sha256(text.encode()).hexdigest())


def _config_in(folder: Path) -> JsonObject | None:
    for file in (folder / "model" / "config.json", folder / "config.json"):
        if file.is_file():
            try:
                found = durable.read_json(file)
            except ValueError as error:
                raise InputError(f"{str(file)!r} is no JSON ({' '.join(str(error).split())[:120]})") from error
            if not isinstance(found, dict):
                raise InputError(f"{str(file)!r} is no config of a model: it holds no object")
            return found
    return None
