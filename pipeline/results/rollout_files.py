"""Where the rollouts of a measured model lie: in a run's evaluate stages, in what `retort eval` wrote, or in a file."""

import json
from dataclasses import dataclass
from pathlib import Path

from eval.rollouts import rollouts_file
from pipeline.contract.errors import CommandError
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.store.run_folder import RunFolder, is_run
from rewards.lazy import lazy

with lazy:
    from pipeline.results.report import models_of


# What makes two measurements of one set comparable; the number of problems and of rollouts may differ.
PROTOCOL = (
    "temperature", "top_p", "top_k", "min_p", "max_completion_tokens", "open_thinking", "template", "shots",
    "thinking_budget", "stop"
)


@dataclass(frozen=True)
class Measured:
    """One model's rollouts on one problem set, and how they were made (empty where nobody wrote that down)."""

    problems: str
    file: Path
    protocol: JsonMapping

    def rows(self) -> list[JsonObject]:
        """One row a rollout. Raises CommandError where the file holds something else."""
        rows: list[JsonObject] = []
        for number, line in enumerate(self.file.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                rows.append({**row, "problem": row["problem"], "verdict": row["verdict"]})
            except (ValueError, TypeError, KeyError) as error:
                raise CommandError(f"{self.file}:{number} is no rollout with a problem and a verdict") from error
        if not rows:
            raise CommandError(f"{self.file} holds no rollouts")
        return rows

    def differs_from(self, other: "Measured") -> list[str]:
        """What of the protocol is not the same, as far as both tell it."""
        return [f"{key} {self.protocol[key]} and {other.protocol[key]}" for key in PROTOCOL
                if key in self.protocol and key in other.protocol and self.protocol[key] != other.protocol[key]]


def measured(reference: str) -> list[Measured]:
    """Everything measured of RUN:STAGE, of a folder that `retort eval` wrote (FOLDER:MODEL where it holds several), or
    one JSONL file of rollouts.

    Raises CommandError in one line where nothing is found.
    """
    path = Path(reference).expanduser()
    if path.is_file():
        return [Measured(path.stem, path, {})]
    label = ""
    if not path.is_dir():
        before, _, label = reference.rpartition(":")
        path = Path(before).expanduser()
    if not path.is_dir() or not (label or (path / "report.json").is_file()):
        raise CommandError(f"there are no rollouts at {reference!r}; give RUN:STAGE (runs/quickstart:zero), a folder "
                           f"that "
                          "`retort eval` wrote, or a JSONL file of rollouts")
    found = _of_run(path, label) if is_run(path) else _of_folder(path, label, {})
    if found:
        return found
    raise CommandError(f"{path} holds no rollouts of {label or 'any model'!r}; {_hint(path)}")


def _of_run(run: Path, label: str) -> list[Measured]:
    reports = [artifact for artifact in RunFolder(run).readable().values() if artifact.manifest["makes"] == "report"]
    return [one for artifact in reports for one in _of_folder(artifact.path, label, artifact.manifest["config"])]


def _of_folder(folder: Path, label: str, config: JsonMapping) -> list[Measured]:
    """What lies in a folder with a report.json. `config` is the evaluate stage's, where it is one's artifact."""
    try:
        models = json.loads((folder / "report.json").read_text(encoding="utf-8"))["models"]
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(f"{folder / 'report.json'}: cannot be read as a report ({type(error).__name__})") from error
    if not label and len(models) > 1:
        raise CommandError(f"{folder} holds {', '.join(models)}; name one, such as {folder}:{next(iter(models))}")
    label = label or next(iter(models), "")
    if label not in models:
        return []
    protocols = models[label].get("protocol", {})
    files = {name: folder / rollouts_file(label, name) for name in models[label]["problems"]}
    return [Measured(name, file, protocols.get(name, config)) for name, file in files.items() if file.is_file()]


def _hint(path: Path) -> str:
    if not is_run(path):
        return "its report.json names what it has"
    models = dict.fromkeys(name for artifact in RunFolder(path).readable().values() for name in models_of(artifact))
    return f"measured were {', '.join(models)}" if models else "no model has been measured yet"
