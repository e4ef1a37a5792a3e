"""What a run made, gathered from its ledger, its artifacts' stage.json and its evaluate stages' report.json."""

from collections.abc import Mapping
from pathlib import Path

from eval.answers import read_rows
from eval.report import together
from eval.rollouts import rollouts_file
from eval.scaling import Point, curve
from pipeline.contract.errors import RunError
from pipeline.disk import durable
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.results.finite import is_number
from pipeline.store.run_folder import RunFolder, wall_seconds
from pipeline.store.store import Artifact
from pipeline.store.verify import made_from_others
from rewards.types import Label

Report = JsonObject
_LIBRARIES = ("retort", "python", "torch", "transformers")
_NUMBERS = ("n", "rollouts", "readable", "mean_length", "ungradable")


def report_of(run: RunFolder) -> Report:
    """The report of a run, finished or not, as an object with these keys.

    seconds   of work on the run, over all its attempts
    stages    one entry for each finished stage in the recipe's order: name, kind, seconds that making it took, tokens
              (None where a stage counts none), whether this run found it already made, and its metrics
    waiting   names of the recipe's stages that are not finished
    damaged   a line for each file of the run, each artifact and each stage.json that is gone or torn, and for each
              stage that was made from other bytes than its inputs have now
    made_on   names of stages by what their numbers hang on beside the recipe: processor, its vector instructions and
              libraries
    models    by name: parameters, the numbers of each problem set (see eval.report.reduce) and how they were measured;
              where several evaluate stages measured a model on one set, the last one counts

    Raises RunError where a report.json cannot be read.
    """
    artifacts, made_here = run.readable(), run.made_here()
    models: JsonObject = {}
    for artifact in artifacts.values():
        for name, measured in models_of(artifact).items():
            models[name] = together(models.get(name, {}), measured)
    return {
        "seconds": round(wall_seconds(run.ledger()), 3),
        "stages": [_stage(name, artifact, name not in made_here) for name, artifact in artifacts.items()],
        "waiting": [name for name in run.stages() or () if name not in artifacts],
        "damaged": [*run.faults(), *run.lost().values(), *run.unreadable().values(), *_others(artifacts)],
        "made_on": _made_on(artifacts),
        "models": models,
    }


def _others(artifacts: Mapping[str, Artifact]) -> list[str]:
    return [f"{name}: {line}" for name, artifact in artifacts.items() for line in made_from_others(artifact, artifacts)]


def curves_of(run: RunFolder, models: JsonMapping) -> dict[str, dict[str, list[Point]]]:
    """Accuracy against tokens (see eval.scaling.curve), by model and problem set, where a problem has several rollouts.

    It is counted from the rollouts that an evaluate stage kept beside the numbers that `models` of `report_of` has.
    """
    files: dict[tuple[str, str], Path] = {}
    for artifact in run.readable().values():
        for name, measured in models_of(artifact).items():
            for problems, numbers in measured["problems"].items():
                file = artifact.path / rollouts_file(name, problems)
                # A report that took in another one has its numbers alone.
                if numbers["rollouts"] > 1 and numbers == models[name]["problems"][problems] and file.is_file():
                    files[name, problems] = file
    curves: dict[str, dict[str, list[Point]]] = {}
    for (name, problems), file in files.items():
        rows = read_rows(file)
        # A file that was changed has no curve, as its figures are no longer those of its rows; `verify` tells of it.
        if all(map(_is_rollout, rows)):
            curves.setdefault(name, {})[problems] = curve(rows)
    return curves


def _is_rollout(row: JsonMapping) -> bool:
    """Whether this holds what a curve is made of."""
    return (
        isinstance(row.get("problem"), str) and row.get("verdict") in list(Label) and "extracted" in row
        and is_number(row.get("tokens")) and is_number(row.get("best_by", 0))
    )


def efforts_of(models: JsonMapping) -> dict[str, dict[str, list[Point]]]:
    """Accuracy and length of thinking by effort and thinking budget (see eval.scaling.efforts), by model and problem
    set, of the models that were asked with some."""
    return {name: measured["efforts"] for name, measured in models.items() if measured.get("efforts")}


def shared(models: JsonMapping) -> list[str]:
    """The problem sets that every model has a score on: means over others would be of different things."""
    scored = [[name for name, numbers in measured["problems"].items() if numbers.get("pass@1") is not None]
              for measured in models.values()]
    return [name for name in scored[0] if all(name in other for other in scored)] if scored else []


def models_of(artifact: Artifact) -> JsonMapping:
    """The models that an evaluate stage measured; none for an artifact that is no report."""
    if artifact.manifest["makes"] != "report":
        return {}
    return models_in(artifact.path / "report.json")


def models_in(file: Path) -> JsonMapping:
    """The models of a report.json. Raises RunError where it is none, or another program's."""
    try:
        found = durable.read_json(file)
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file}: cannot be read as a report ({type(error).__name__})") from error
    models = found.get("models") if isinstance(found, dict) else None
    if not isinstance(models, dict):
        raise RunError(f"{file}: cannot be read as a report (it has no models)")
    for name, measured in models.items():
        if not _is_model(measured):
            raise RunError(f"{file}: cannot be read as a report (what it says of {name!r} is not what Retort writes)")
    return models


def _is_model(measured: object) -> bool:
    """Whether this is what an evaluate stage says of a model."""
    if not isinstance(measured, dict):
        return False
    problems, protocol = measured.get("problems"), measured.get("protocol", {})
    parameters = measured.get("parameters")
    return (
        isinstance(problems, dict) and all(map(_is_measured, problems.values()))
        and isinstance(protocol, dict) and all(isinstance(one, dict) for one in protocol.values())
        and (parameters is None or is_number(parameters))
    )


def _is_measured(numbers: object) -> bool:
    """Whether these are the numbers of a model on a problem set, as far as a table needs them."""
    if not isinstance(numbers, dict):
        return False
    bounds = numbers.get("pass@1_ci95")
    scored = numbers.get("pass@1") is None or (is_number(numbers["pass@1"]) and isinstance(bounds, list)
                                               and len(bounds) == 2 and all(map(is_number, bounds)))
    unfinished = numbers.get("unfinished")  # reports of earlier versions have none
    return scored and (unfinished is None or is_number(unfinished)) \
        and all(is_number(numbers.get(key)) for key in _NUMBERS)


def _made_on(artifacts: Mapping[str, Artifact]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, artifact in artifacts.items():
        manifest = artifact.manifest
        versions = manifest.get("versions")
        known = versions if isinstance(versions, dict) else {}
        libraries = [f"{library} {known[library]}" for library in _LIBRARIES if library in known]
        machine = [str(manifest[key]) for key in ("processor", "hardware") if manifest.get(key)]
        found.setdefault(", ".join([*machine, *libraries]), []).append(name)
    return found


def _stage(name: str, artifact: Artifact, reused: bool) -> JsonObject:
    manifest = artifact.manifest
    metrics = dict(manifest["metrics"])
    tokens = metrics.pop("tokens", None)
    # A stage of somebody else's may call anything its tokens.
    return {"name": name, "kind": manifest["kind"], "seconds": manifest["seconds"],
            "tokens": tokens if isinstance(tokens, int) else None, "reused": reused, "metrics": metrics}
