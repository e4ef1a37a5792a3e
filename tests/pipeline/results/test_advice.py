"""What is suggested of a run: the best of its models, not the last one."""

from pathlib import Path

from pipeline.disk import durable
from pipeline.results.advice import next_commands
from pipeline.store.run_folder import RunFolder

SCORES = {"base": {"sums": 0.1, "needle": 1.0}, "best": {"sums": 0.9}, "last": {"sums": 0.4}}


def test_the_best_model_is_asked_and_held_against_the_next(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    for number, name in enumerate(SCORES, start=1):
        folder = tmp_path / name
        folder.mkdir()
        durable.write_json(folder / "stage.json", {
            "name": name, "kind": "any", "makes": "model", "seconds": 1, "metrics": {}, "fingerprint": name,
            "config": {}, "inputs": {}, "files": {},
        })
        run.link(number, name, folder)
    models = {name: {"problems": {of: {"pass@1": value} for of, value in scores.items()}}
              for name, scores in SCORES.items()}
    commands = [command for command, _ in next_commands(run, {"waiting": [], "damaged": [], "models": models})]
    assert commands == [f'retort ask {run.path} best "..."', f"retort compare {run.path}:best {run.path}:last"]
    unmeasured = next_commands(run, {"waiting": [], "damaged": [], "models": {}})
    assert [command for command, _ in unmeasured] == [f'retort ask {run.path} last "..."']
