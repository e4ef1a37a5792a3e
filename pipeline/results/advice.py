"""What a person may want to do with a run next, as commands."""

import math
import shlex
from collections.abc import Sequence

from pipeline.disk.durable import JsonMapping
from pipeline.results.report import Report, shared
from pipeline.store.run_folder import RunFolder


def next_commands(run: RunFolder, report: Report) -> list[tuple[str, str]]:
    """(command as one would type it, what it does), the most urgent first."""
    path = shlex.quote(str(run.path))
    found = []
    # What is damaged may be in its place again before anything is made anew.
    if report["damaged"]:
        found.append((f"retort verify {path}", "tells what is not as it was made"))
    if report["waiting"] and run.command():
        found.append((run.command(), "goes on with it"))
    made = [name for name, artifact in run.readable().items() if artifact.manifest["makes"] == "model"]
    ranked = _ranked(report["models"])
    best = [name for name in ranked if name in made] or made[-1:]
    if best:
        found.append((f'retort ask {path} {best[0]} "..."', "puts a question to it"))
    if len(ranked) > 1:
        one, other = (shlex.quote(f"{run.path}:{name}") for name in ranked[:2])
        found.append((f"retort compare {one} {other}", "tells whether the one is better"))
    return found


def _ranked(models: JsonMapping) -> Sequence[str]:
    """Names of models by their mean pass@1 over the problem sets on which each of them has a score, the best first;
    of equally good ones the last one first; none where there is no such set."""
    sets = shared(models)

    def points(name: str) -> float:
        return math.fsum(models[name]["problems"][problems]["pass@1"] for problems in sets)

    return sorted(reversed([*models]), key=points, reverse=True) if sets else []
