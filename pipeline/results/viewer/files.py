"""Which files of a run hold rollouts: those that `grpo` keeps step by step, those of `sample` and those of
`evaluate`."""

from dataclasses import dataclass
from pathlib import Path

from eval.rollouts import rollouts_file
from pipeline.contract.errors import RunError
from pipeline.results.report import models_of
from pipeline.store.kept_rollouts import KeptRollouts
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import Artifact, Store


@dataclass(frozen=True)
class KeptFile:
    """A file of rollouts, and what holds for all of its rows.

    model         the name of the model that wrote them, where the stage asks several
    problems      the problem set, where the file is of one
    only_correct  whether the stage put correct rollouts alone into the file
    """

    stage: str
    kind: str
    file: Path
    model: str = ""
    problems: str = ""
    only_correct: bool = False


def kept_files(run: RunFolder) -> list[KeptFile]:
    """Every file of rollouts of a run, finished or not, in the order of the recipe, of the steps and of the models."""
    artifacts = run.readable()
    steps = _folders_of_steps(run, artifacts)
    order = list(dict.fromkeys([*(run.stages() or ()), *artifacts, *steps]))
    found: list[KeptFile] = []
    for stage in order:
        if stage in steps:
            found += _of_steps(stage, steps[stage], artifacts.get(stage))
        if stage in artifacts:
            found += _of_artifact(stage, artifacts[stage])
    # A pipe or a device would keep the reader waiting.
    return [kept for kept in found if kept.file.is_file()]


def _folders_of_steps(run: RunFolder, artifacts: dict[str, Artifact]) -> dict[str, Path]:
    """Where the stages of a run keep rollouts by step. Of a stage that is being made again it is the new folder."""
    folders = {stage: Store(artifact.path.parent.parent).kept / artifact.path.name
               for stage, artifact in artifacts.items()}
    for name in sorted(run.begun()):
        folder = Store(run.path.parent).kept / name
        # The ledger may be anyone's, and its names lead nowhere else.
        if Path(name).name == name and folder.is_dir():
            folders[name.rpartition("-")[0]] = folder
    return {stage: folder for stage, folder in folders.items() if folder.is_dir()}


def _of_steps(stage: str, folder: Path, artifact: Artifact | None) -> list[KeptFile]:
    kind = str(artifact.manifest["kind"]) if artifact else "grpo"
    return [KeptFile(stage, kind, file) for file in KeptRollouts(folder).files().values()]


def _of_artifact(stage: str, artifact: Artifact) -> list[KeptFile]:
    manifest = artifact.manifest
    if manifest["kind"] == "sample":
        only_correct = manifest["config"].get("only_correct") is True
        return [KeptFile(stage, "sample", artifact.path / "data.jsonl", only_correct=only_correct)]
    try:
        models = models_of(artifact)
    except RunError:  # a torn report; `retort report` tells of it
        return []
    return [KeptFile(stage, "evaluate", artifact.path / rollouts_file(model, problems), model, problems)
            for model, measured in models.items() for problems in measured["problems"]]
