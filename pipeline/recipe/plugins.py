"""The registries of every kind of plug-in, and what a recipe uses of them."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple  # a registry holds stages, rules, verifiers or sets

from pydantic import BaseModel

from eval.errors import ProblemSetError
from eval.problems import own_rows, resolve
from eval.tools.tool import tools_of
from pipeline.contract.tools import Tools
from pipeline.disk.hashes import FileHashes
from pipeline.recipe.inputs import fingerprint_of_path
from rewards.registry import Entry, Registry, RegistryError, did_you_mean

REGISTRIES: Mapping[str, str] = {
    "stage": "pipeline.stages:STAGES",
    "rule": "rewards.rules:RULES",
    "verifier": "rewards.grade:VERIFIERS",
    "problem set": "eval.problems:PROBLEMS",
    "tool": "eval.tools.registry:TOOLS",
}


class PlugInUse(NamedTuple):
    """A plug-in that a recipe names, and the hash of its source at that time."""

    kind: str
    reference: str
    source_hash: str


def registry_of(kind: str) -> Registry[Any]:
    """The registry of "stage", "rule", "verifier", "problem set" or "tool"."""
    if kind not in REGISTRIES:
        raise RegistryError(f"there is no kind of plug-in called {kind!r}{did_you_mean(kind, list(REGISTRIES))}")
    module, attribute = REGISTRIES[kind].split(":")
    registry: Registry[Any] = getattr(importlib.import_module(module), attribute)
    return registry


def resolve_plug_in(kind: str, reference: str, folder: Path) -> PlugInUse:
    """What `reference` uses, after checking that it loads. Raises RegistryError in one line.

    A problem set is given with its split ("gsm8k:test", "mine.py:riddles:test"), or as a file of rows ("mine.jsonl");
    "documents" are a folder, whose files are what it is used for.
    """
    found = _found(kind, reference, folder)
    # Built-in ones load; a file of the user's is tried now and not when its stage begins.
    if not isinstance(found, Path) and found.origin != "built-in":
        found.load()
    return PlugInUse(kind, reference, _hash(found, FileHashes()))


def source_hash(kind: str, reference: str, folder: Path, hashes: FileHashes) -> str:
    """The hash of what `reference` uses as its source is now; nothing of it is run. `hashes` spares reading files that
    were read before. Raises RegistryError."""
    return _hash(_found(kind, reference, folder), hashes)


def require_tools(config: BaseModel, folder: Path) -> None:
    """Make the tools of a stage once. Raises ToolError, RegistryError for those that no model could be given."""
    for name in type(config).model_fields:
        tools = getattr(config, name)
        if isinstance(tools, Tools):
            tools_of(tools.used(folder))


def _found(kind: str, reference: str, folder: Path) -> Entry[Any] | Path:
    """The plug-in, or the file or folder that is used in the place of one."""
    if kind == "documents":
        path = folder / Path(reference).expanduser()
        if not path.is_dir():
            raise RegistryError(f"there is no folder {str(path)!r}")
        return path
    if kind != "problem set":
        return registry_of(kind).resolve(reference, base=folder)
    try:
        rows = own_rows(reference)
        if rows is None:
            return resolve(reference, base=folder)[0]
    except ProblemSetError as error:
        raise RegistryError(str(error)) from error
    path = folder / Path(rows.file).expanduser()
    if not path.is_file():
        raise RegistryError(f"there is no file {str(path)!r}")
    return path


def _hash(found: Entry[Any] | Path, hashes: FileHashes) -> str:
    if not isinstance(found, Path):
        return found.source_hash()
    return hashes.of(found) if found.is_file() else fingerprint_of_path(found, hashes)
