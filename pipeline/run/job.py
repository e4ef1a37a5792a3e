"""What a worker is told to do: a file that the runner writes and the process of a stage reads."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.contract import fields
from pipeline.contract.checkpoints import CheckpointSchedule
from pipeline.disk import durable
from pipeline.disk.durable import JsonObject
from pipeline.recipe.fingerprint import Fingerprint
from pipeline.recipe.recipe import Recipe, Step
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import MANIFEST, Artifact, Store


@dataclass(frozen=True)
class Job:
    """One stage to be run.

    name, kind          the stage, and what kind it is of
    folder              where relative paths of its config start: the recipe's
    config              its fields as the recipe has them
    seed                the recipe's
    threads             processors that it may use
    sources             reference -> {"origin", "path"}, with "content" where that is an artifact, or {"origin",
                        "repository", "type", "commit"} for the hub, or {"origin", "config", "digest"} for what a tiny
                        model stands in for
    accelerate          the config of its processes, where it is part of the stage's fingerprint
    out, artifact       the folder it works in, and what that becomes when the stage is done
    events              the file that it tells what happens, as JSONL
    lock, token         the run's lock; when it no longer carries the token, the runner is gone
    sandbox_at_least    the level below which no model-written program is run
    checkpoints, schedule, inexact
                        where checkpoints lie, when they are made, and whether those of other versions or hardware are
                        gone on from
    computed            fields that checkpoints are made with, and that are in no fingerprint, with their values
    manifest            what is known beforehand of stage.json
    report_to, recipe, run
                        names of the trackers that are told what the stage logs, and what they call it by: the
                        recipe's name and the run's folder
    """

    name: str
    kind: str
    folder: Path
    config: JsonObject
    seed: int
    threads: int
    sources: dict[str, JsonObject]
    accelerate: Path | None
    out: Path
    artifact: Path
    events: Path
    lock: Path
    token: str
    sandbox_at_least: str
    checkpoints: Path
    schedule: CheckpointSchedule
    inexact: bool
    computed: JsonObject
    manifest: JsonObject
    report_to: list[str]
    recipe: str
    run: Path

    @property
    def calls(self) -> Path:
        """What tells which call of foreign code is at work; each process has a file whose name begins so."""
        return self.checkpoints.with_name("calls")

    @property
    def tracking(self) -> Path:
        """Where it is kept what trackers were told, for all attempts at the stage."""
        return self.checkpoints.with_name("tracking")

    def write(self, file: Path) -> None:
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        durable.write_json(file, {**plain, "schedule": self.schedule.model_dump()})

    @classmethod
    def read(cls, file: Path) -> "Job":
        """The job of a file that `write` made."""
        told = json.loads(file.read_text())
        names = ("folder", "out", "artifact", "events", "lock", "checkpoints", "run")
        paths: dict[str, Path | None] = {name: Path(told[name]) for name in names}
        paths["accelerate"] = Path(told["accelerate"]) if told["accelerate"] else None
        return cls(**{**told, **paths, "schedule": CheckpointSchedule(**told["schedule"])})


@dataclass(frozen=True)
class Assignment:
    """What the jobs of one attempt at a run have in common."""

    recipe: Recipe
    prints: Mapping[str, Fingerprint]
    store: Store
    run: RunFolder
    token: str
    inexact: bool = False

    def write(self, step: Step, made: Mapping[str, Artifact]) -> Path:
        """Write the job of a stage whose inputs are in `made`, with an empty folder to work in; returns its path."""
        fingerprint = self.prints[step.name]
        partial = self.store.partial(step.name, fingerprint).resolve()
        out = partial / "out"
        # What a killed attempt left half-made is no part of the artifact; its checkpoints lie beside and stay.
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        sources = {reference: self._source(step, reference, made) for reference in step.sources}
        Job(
            name=step.name,
            kind=step.kind,
            folder=self.recipe.folder,
            config=dict(step.written),
            seed=self.recipe.seed,
            threads=step.config.threads,
            sources=sources,
            accelerate=self.recipe.accelerate if "accelerate" in fingerprint.parts else None,
            out=out,
            artifact=self.store.path(step.name, fingerprint).resolve(),
            events=events_file(self.run, step.name),
            lock=self.run.lock_file.resolve(),
            token=self.token,
            sandbox_at_least=self.recipe.sandbox_at_least.name,
            checkpoints=partial / "checkpoints",
            schedule=self.recipe.checkpoints,
            inexact=self.inexact,
            computed={name: getattr(step.config, name) for name in fields.of_checkpoints(type(step.config))},
            manifest=self._manifest(step, sources),
            report_to=list(self.recipe.report_to),
            recipe=self.recipe.name,
            run=self.run.path.resolve(),
        ).write(partial / "job.json")
        return partial / "job.json"

    def _manifest(self, step: Step, sources: JsonObject) -> JsonObject:
        fingerprint = self.prints[step.name]
        return {
            "name": step.name, "kind": step.kind, "makes": type(step.config).makes, "fingerprint": fingerprint.digest,
            "seed": self.recipe.seed, "config": step.config.model_dump(mode="json"), "inputs": sources,
            "not_in_fingerprint": sorted(fields.outside_fingerprint(type(step.config))),
            "parts": dict(fingerprint.parts), "made_of": step.config.made_of(),
        }

    def _source(self, step: Step, reference: str, made: Mapping[str, Artifact]) -> JsonObject:
        source = step.sources[reference]
        if source.origin == "stage":
            artifact = made[reference]
            return {"origin": "stage", "path": str(artifact.path.resolve()),
                    "fingerprint": self.prints[reference].digest, "content": artifact.content}
        if source.path is not None:
            told: JsonObject = {"origin": "path", "path": str(source.path)}
            # An artifact's fingerprint says how it was made, and not what came of it on that machine.
            is_artifact = (source.path / MANIFEST).is_file()
            return {**told, "content": Artifact(source.path).content} if is_artifact else told
        if source.origin == "shrunk":
            return {"origin": "shrunk", "config": source.config, "digest": source.commit}
        return {"origin": "hub", "repository": source.repository, "type": source.type, "commit": source.commit}


def events_file(run: RunFolder, name: str) -> Path:
    return (run.logs / f"{name}.events.jsonl").resolve()
