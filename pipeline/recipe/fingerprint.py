"""What a stage's result depends on, as one hash: equal fingerprints mean the same artifact."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.contract import fields
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.disk.hashes import FileHashes
from pipeline.recipe import inputs, plugins, strict_yaml
from pipeline.recipe.recipe import Recipe, Step
from rewards.registry import RegistryError

SHORT = 10  # characters of a fingerprint that a folder's name shows


@dataclass(frozen=True)
class Fingerprint:
    """The hash and the parts it was made of; the parts are kept in stage.json so that a change can be explained."""

    digest: str
    parts: JsonMapping

    @property
    def short(self) -> str:
        return self.digest[:SHORT]


def of_recipe(recipe: Recipe, hashes: FileHashes | None = None) -> dict[str, Fingerprint]:
    """Fingerprint of every stage by name. `hashes` spares reading files that were read before."""
    hashes = hashes or FileHashes()
    found: dict[str, Fingerprint] = {}
    paths: dict[str, str] = {}
    for name, step in recipe.steps.items():
        read = {}
        for reference, source in step.sources.items():
            if source.origin == "stage":
                read[reference] = found[reference].digest
            elif source.origin == "hub":
                read[reference] = inputs.fingerprint_of_hub(source)
            elif source.origin == "shrunk":
                read[reference] = source.commit
            else:
                if reference not in paths:
                    assert source.path is not None
                    paths[reference] = inputs.fingerprint_of_path(source.path, hashes)
                read[reference] = paths[reference]
        parts = _parts(recipe, step, read)
        found[name] = Fingerprint(_digest(parts), parts)
    hashes.keep()
    return found


def _parts(recipe: Recipe, step: Step, read: Mapping[str, str]) -> JsonObject:
    config = step.config.model_dump(mode="json", exclude=fields.outside_fingerprint(type(step.config)))
    plug_ins = {f"{use.kind} {use.reference}": use.source_hash for use in step.plug_ins}
    if step.entry.origin != "built-in":  # a built-in stage says through its version when its result changes
        plug_ins[f"stage {step.kind}"] = step.entry.source_hash()
    parts = {
        "name": step.name,  # part of it because a stage's random streams come from (seed, name)
        "kind": step.kind, "version": type(step.config).version, "seed": recipe.seed, "config": config,
        "inputs": dict(read), "plug_ins": plug_ins,
    }
    if step.problems:
        parts["problems"] = dict(step.problems)
    if recipe.accelerate and type(step.config).distributed:  # the others run in one process
        parts["accelerate"] = _accelerate(recipe.accelerate)
    return parts


def edited(
    parts: JsonMapping, paths: Mapping[str, Path], folder: Path, accelerate: Path | None, hashes: FileHashes
) -> list[str]:
    """The files and plug-ins, as the recipe names them, that are no longer what `parts` were made of. `paths` are those
    of the inputs that are given by one, `folder` is where plug-ins are found from. Nothing of a plug-in is run."""
    found = [reference for reference, path in paths.items() if _differs(path, parts["inputs"][reference], hashes)]
    for use, known in parts["plug_ins"].items():
        kind = next(kind for kind in (*plugins.REGISTRIES, "documents") if use.startswith(f"{kind} "))
        reference = use.removeprefix(f"{kind} ")
        with contextlib.suppress(RegistryError):  # it is gone, or is no Python now
            if plugins.source_hash(kind, reference, folder, hashes) == known:
                continue
        found.append(reference)
    if accelerate is not None:
        with contextlib.suppress(strict_yaml.YamlError, OSError):
            if _accelerate(accelerate) == parts["accelerate"]:
                return found
        found.append(str(accelerate))
    return found


def _differs(path: Path, known: str, hashes: FileHashes) -> bool:
    try:
        return inputs.fingerprint_of_path(path, hashes) != known
    except inputs.InputError:  # the base of an adapter is on the hub, and the hub does not answer: that says nothing
        return False


WHERE = frozenset({"num_processes", "num_machines", "machine_rank", "main_process_ip", "main_process_port", "gpu_ids",
                   "rdzv_backend", "same_network"})
"""Fields of an accelerate config that say where processes run and how many they are. What they make is the same but for
rounding, or drawn alike where something looks at one process's rows alone (recipes/README.md says what). A checkpoint
of an unfinished stage is of a number of processes nonetheless."""


def _accelerate(config: Path) -> str:
    """The hash of what an accelerate config says of the arithmetic, and of the files that it names, such as
    DeepSpeed's."""
    written = strict_yaml.read_file(config).data
    total = hashlib.sha256(_digest({name: value for name, value in written.items() if name not in WHERE}).encode())
    for text in _texts(written):
        # accelerate takes them from the current folder, as it is started in.
        if text.endswith((".json", ".yaml", ".yml")) and Path(text).is_file():
            total.update(hashlib.sha256(Path(text).read_bytes()).digest())
    return total.hexdigest()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)


def _digest(parts: JsonMapping) -> str:
    # One spelling for equal parts: the order in which a recipe writes its fields says nothing.
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: JsonMapping, new: JsonMapping) -> list[str]:
    """Why `new` is not the artifact of `old`: one short phrase for each field, input or plug-in that changed."""
    found: list[str] = []
    for key, label in (("kind", "kind"), ("version", "stage version"), ("seed", "seed")):
        if old.get(key) != new.get(key):
            found.append(f"{label} {old.get(key)} -> {new.get(key)}")
    found += _changed_fields(old.get("config", {}), new.get("config", {}), "")
    before, after = old.get("inputs", {}), new.get("inputs", {})
    found += [f"input {name} changed" for name in after if name in before and before[name] != after[name]]
    before, after = old.get("plug_ins", {}), new.get("plug_ins", {})
    found += [f"{name} was edited" for name in after if name in before and before[name] != after[name]]
    before, after = old.get("problems", {}), new.get("problems", {})
    found += [f"problems of {name} changed" for name in {**before, **after} if before.get(name) != after.get(name)]
    if old.get("accelerate") != new.get("accelerate"):
        found.append("the accelerate config changed")
    return found


def _changed_fields(old: object, new: object, where: str) -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: list[str] = []
        for key in [*new, *(key for key in old if key not in new)]:
            place = f"{where}.{key}" if where else str(key)
            if key not in old:
                found.append(f"{place} is new ({_shown(new[key])})")
            elif key not in new:
                found.append(f"{place} is gone (was {_shown(old[key])})")
            else:
                found += _changed_fields(old[key], new[key], place)
        return found
    return [] if old == new else [f"{where} {_shown(old)} -> {_shown(new)}"]


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
