"""The registries of every kind of plug-in, and what a recipe uses of them."""

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple  # a registry holds stages, rules, verifiers or sets

from pydantic import BaseModel

from eval.errors import ProblemSetError
from eval.problems import own_rows, resolve
from eval.tools.tool import tools_of
from pipeline.contract.tools import Tools
from pipeline.recipe.inputs import fingerprint_of_path
from rewards.registry import Registry, RegistryError, did_you_mean

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
    if kind == "problem set":
        return _problem_set(reference, folder)
    if kind == "documents":
        return _documents(reference, folder)
    entry = registry_of(kind).resolve(reference, base=folder)
    # Built-in ones load; a file of the user's is tried now and not when its stage begins.
    if entry.origin != "built-in":
        entry.load()
    return PlugInUse(kind, reference, entry.source_hash())


def require_tools(config: BaseModel, folder: Path) -> None:
    """Make the tools of a stage once. Raises ToolError, RegistryError for those that no model could be given."""
    for name in type(config).model_fields:
        tools = getattr(config, name)
        if isinstance(tools, Tools):
            tools_of(tools.used(folder))


def _documents(reference: str, folder: Path) -> PlugInUse:
    path = folder / Path(reference).expanduser()
    if not path.is_dir():
        raise RegistryError(f"there is no folder {str(path)!r}")
    return PlugInUse("documents", reference, fingerprint_of_path(path))


def _problem_set(reference: str, folder: Path) -> PlugInUse:
    try:
        rows = own_rows(reference)
    except ProblemSetError as error:
        raise RegistryError(str(error)) from error
    if rows:
        path = folder / Path(rows.file).expanduser()
        if not path.is_file():
            raise RegistryError(f"there is no file {str(path)!r}")
        return PlugInUse("problem set", reference, hashlib.sha256(path.read_bytes()).hexdigest())
    try:
        entry, _ = resolve(reference, base=folder)
    except ProblemSetError as error:
        raise RegistryError(str(error)) from error
    if entry.origin != "built-in":
        entry.load()
    return PlugInUse("problem set", reference, entry.source_hash())
