"""Where the rollouts of a measured model lie: in a run's evaluate stages, in what `retort eval` wrote, or in a file."""

import json
from dataclasses import dataclass
from pathlib import Path

from eval.rollouts import rollouts_file
from pipeline.contract.errors import CommandError
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.results.report import models_in, models_of
from pipeline.store.run_folder import RunFolder, is_run
from rewards.types import Label

LABELS = list(Label)

# What makes two measurements of one set comparable. The number of problems may differ, and so may that of rollouts:
# problems of both are compared, by as many of their first rollouts as both have.
PROTOCOL = (
    "system", "instruction", "template", "template_options", "open_thinking", "shots", "temperature", "top_p", "top_k",
    "min_p", "max_completion_tokens", "thinking_budget", "stop", "effort"
)
OF_TOOLS = ("tools", "turns", "observation")
"""The same, of a protocol that has these where there are tools."""


@dataclass(frozen=True)
class Measured:
    """One model's rollouts on one problem set, and how they were made (empty where nobody wrote that down)."""

    problems: str
    file: Path
    protocol: JsonMapping

    def rows(self) -> list[JsonObject]:
        """One row a rollout. Raises CommandError where the file holds something else."""
        rows: list[JsonObject] = []
        # Not splitlines, which breaks texts at characters that JSON leaves as they are.
        for number, line in enumerate(self.file.read_bytes().split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict) or not isinstance(row.get("problem"), str) or row.get("verdict") not in LABELS:
                raise CommandError(f"{self.file}:{number} is no rollout with a problem and a verdict")
            rows.append(row)
        if not rows:
            raise CommandError(f"{self.file} holds no rollouts")
        return rows

    def differs_from(self, other: "Measured") -> list[str]:
        """What of the protocol is not the same, as far as both tell it."""
        one, two = self.protocol, other.protocol
        told = [key for key in PROTOCOL if key in one and key in two]
        told += [key for key in OF_TOOLS if one and two and (key in one or key in two)]
        return [f"{key} {one.get(key)} and {two.get(key)}" for key in told if one.get(key) != two.get(key)]


def run_of(reference: str, runs: Path) -> RunFolder | None:
    """The run that a reference names as a whole: by its folder, or by its name in `runs`."""
    for folder in (Path(reference).expanduser(), runs / reference):
        if is_run(folder):
            return RunFolder(folder)
    return None


def models_measured(run: RunFolder) -> list[str]:
    """Names of the models that a run's evaluate stages measured."""
    return list(dict.fromkeys(name for artifact in run.readable().values() for name in models_of(artifact)))


def measured(reference: str, runs: Path) -> list[Measured]:
    """Everything measured of RUN:STAGE (a folder, or a name in `runs`), of a folder that `retort eval` wrote
    (FOLDER:MODEL where it holds several), or one JSONL file of rollouts.

    Raises CommandError in one line where nothing is found, and RunError where a report.json cannot be read.
    """
    path = Path(reference).expanduser()
    if path.is_file():
        return [Measured(path.stem, path, {})]
    if run := run_of(reference, runs):
        names = models_measured(run)
        if not names and run.lost():
            raise CommandError([*run.lost().values()])
        raise CommandError(f"{reference} is a run, which measured {', '.join(names) or 'nothing'}; name one of these, "
                           f"such as {reference}:{(names or ['MODEL'])[0]}, or two runs to compare all of both")
    path, label = (path, "") if path.is_dir() else _parted(reference, runs)
    if not _has_reports(path):
        raise CommandError(f"there are no rollouts at {reference!r}; give RUN:STAGE (runs/quickstart:zero), a folder "
                           "that `retort eval` wrote, or a JSONL file of rollouts")
    found = _of_run(path, label) if is_run(path) else _of_folder(path, label, {})
    if found:
        return found
    lost = [*RunFolder(path).lost().values()] if is_run(path) else []
    raise CommandError([f"{path} holds no rollouts of {label or 'any model'!r}; {_hint(path)}", *lost])


def _parted(reference: str, runs: Path) -> tuple[Path, str]:
    """(run or folder, model) of a reference: by the last colon behind such a folder, since a model may have colons
    itself (package:NAME/FILE); the reference as a path where there is none."""
    before, colon, last = reference.rpartition(":")
    label = last
    while colon:
        named = run_of(before, runs)
        path = named.path if named else Path(before).expanduser()
        if _has_reports(path):
            return path, label
        before, colon, last = before.rpartition(":")
        label = f"{last}:{label}"
    return Path(reference).expanduser(), ""


def _has_reports(path: Path) -> bool:
    return is_run(path) or (path / "report.json").is_file()


def _of_run(run: Path, label: str) -> list[Measured]:
    reports = [artifact for artifact in RunFolder(run).readable().values() if artifact.manifest["makes"] == "report"]
    return [one for artifact in reports for one in _of_folder(artifact.path, label, artifact.manifest["config"])]


def _of_folder(folder: Path, label: str, config: JsonMapping) -> list[Measured]:
    """What lies in a folder with a report.json. `config` is the evaluate stage's, where it is one's artifact."""
    models = models_in(folder / "report.json")
    if not label and len(models) > 1:
        raise CommandError(f"{folder} holds {', '.join(models)}; name one, such as {folder}:{next(iter(models))}")
    label = label or next(iter(models), "")
    if label not in models:
        return []
    protocols = models[label].get("protocol") or {}
    files = {name: folder / rollouts_file(label, name) for name in models[label]["problems"]}
    return [Measured(name, file, protocols.get(name, config)) for name, file in files.items() if file.is_file()]


def _hint(path: Path) -> str:
    if not is_run(path):
        return "its report.json names what it has"
    models = models_measured(RunFolder(path))
    return f"measured were {', '.join(models)}" if models else "no model has been measured yet"
