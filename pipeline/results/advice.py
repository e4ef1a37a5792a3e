"""What a person may want to do with a run next, as commands."""

import shlex

from pipeline.results.report import Report
from pipeline.store.run_folder import RunFolder


def next_commands(run: RunFolder, report: Report) -> list[tuple[str, str]]:
    """(command as one would type it, what it does), the most urgent first."""
    path = shlex.quote(str(run.path))
    found = []
    if report["waiting"] and run.command():
        found.append((run.command(), "goes on with it"))
    if report["damaged"]:
        found.append((f"retort verify {path}", "tells what is not as it was made"))
    models = [name for name, artifact in run.readable().items() if artifact.manifest["makes"] == "model"]
    if models:
        found.append((f'retort ask {path} {models[-1]} "..."', "puts a question to it"))
    measured = list(report["models"])
    if len(measured) > 1:
        one, other = (shlex.quote(f"{run.path}:{name}") for name in (measured[-1], measured[0]))
        found.append((f"retort compare {one} {other}", "tells whether the one is better"))
    return found
