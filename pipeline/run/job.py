"""The file that tells a worker what to do; see `pipeline.run.worker` for what is in it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.contract import fields
from pipeline.disk import durable
from pipeline.recipe.fingerprint import Fingerprint
from pipeline.recipe.recipe import Recipe, Step
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import Artifact, Store


def write(recipe: Recipe, step: Step, prints: Mapping[str, Fingerprint], made: Mapping[str, Artifact], store: Store,
          run: RunFolder, token: str, *, inexact: bool = False) -> Path:
    """Write the job of a stage whose inputs are in `made`, with an empty folder to work in; returns its path."""
    fingerprint = prints[step.name]
    partial = store.partial(step.name, fingerprint).resolve()
    out = partial / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    sources = {reference: _source(step, reference, prints, made) for reference in step.sources}
    manifest = {
        "name": step.name, "kind": step.kind, "makes": type(step.config).makes, "fingerprint": fingerprint.digest,
        "seed": recipe.seed, "config": step.config.model_dump(mode="json"), "inputs": sources,
        "not_in_fingerprint": sorted(fields.outside_fingerprint(type(step.config))), "parts": dict(fingerprint.parts),
    }
    durable.write_json(partial / "job.json", {
        "name": step.name, "kind": step.kind, "folder": str(recipe.folder), "config": dict(step.written),
        "seed": recipe.seed, "threads": step.config.threads, "sources": sources, "out": str(out),
        "artifact": str(store.path(step.name, fingerprint).resolve()), "events": str(events_file(run, step.name)),
        "lock": str(run.lock_file.resolve()), "token": token, "manifest": manifest,
        "sandbox_at_least": recipe.sandbox_at_least.name,
        "checkpoints": {
            "folder": str(partial / "checkpoints"), "schedule": recipe.checkpoints.model_dump(), "inexact": inexact
        },
    })
    return partial / "job.json"


def events_file(run: RunFolder, name: str) -> Path:
    return (run.logs / f"{name}.events.jsonl").resolve()


def _source(
    step: Step, reference: str, prints: Mapping[str, Fingerprint], made: Mapping[str, Artifact]
) -> dict[str, Any]:
    source = step.sources[reference]
    if source.origin == "stage":
        return {"origin": "stage", "path": str(made[reference].path.resolve()), "fingerprint": prints[reference].digest}
    if source.origin == "path":
        return {"origin": "path", "path": str(source.path)}
    return {"origin": "hub", "repository": source.repository, "type": source.type, "commit": source.commit}
