"""`retort report` on a run as the runner leaves it."""

import json

import pytest

from eval.report import reduce
from eval.rollouts import write_rows
from eval.scaling import curve
from pipeline.commands import cli
from pipeline.disk import durable
from pipeline.store.run_folder import RunFolder

ROWS = [
    {"problem": f"p{i}", "verdict": "correct" if i % 3 else "wrong", "extracted": "7", "tokens": 10 + i, "format": True,
     "readable": True}
    for i in range(30) for _ in range(2)
]


def artifact(runs, name, kind, makes, metrics, models=None):
    """A finished artifact with the manifest that the worker writes."""
    folder = runs / "artifacts" / f"{name}-0123456789"
    folder.mkdir(parents=True)
    durable.write_json(folder / "stage.json", {"name": name, "kind": kind, "makes": makes, "seconds": 12.5,
                                               "metrics": metrics, "fingerprint": "0123456789", "config": {},
                                               "inputs": {}, "files": {}})
    if models is not None:
        durable.write_json(folder / "report.json", {"models": models})
    return folder


@pytest.fixture
def run(tmp_path):
    runs = tmp_path / "runs"
    found = RunFolder(runs / "tiny")
    stages = {name: {"kind": "any"} for name in ("base", "score", "needle", "later")}
    found.begin("first", {"name": "tiny", "file": "tiny.yaml", "overrides": [], "stages": stages}, "retort run tiny")
    models = {name: {"parameters": 1000 * (i + 1), "problems": {"sums": reduce(ROWS), "programs": reduce(ROWS[:40])}}
              for i, name in enumerate(("base", "student"))}
    models["base"]["protocol"] = {"sums": {"temperature": 1.0}}
    found.link(1, "base", artifact(runs, "base", "pretrain", "model", {"tokens": 123456, "loss": 0.5}))
    found.link(2, "score", artifact(runs, "score", "evaluate", "report", {}, models))
    needle = {
        "base": {
            "parameters": 1000, "problems": {"needle": reduce(ROWS[:20])}, "protocol": {"needle": {"temperature": 0.0}}
        }
    }
    found.link(3, "needle", artifact(runs, "needle", "evaluate", "report", {}, needle))
    found.record("base", event="reused")
    for name in ("score", "needle"):
        found.record(name, event="finished", seconds=12.5, artifact=found.artifacts()[name].path.name)
    return found


def test_json_holds_the_stages_and_every_model_by_name(run, capsys):
    assert cli.main(["report", str(run.path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in report["stages"]] == ["base", "score", "needle"]
    assert report["stages"][0] == {"name": "base", "kind": "pretrain", "seconds": 12.5, "tokens": 123456,
                                   "reused": True,
                                   "metrics": {"loss": 0.5}}
    assert report["stages"][1]["reused"] is False
    assert report["waiting"] == ["later"]
    assert set(report["models"]["base"]["problems"]) == {"sums", "programs", "needle"}
    assert report["models"]["student"]["problems"]["sums"] == reduce(ROWS)
    assert report["models"]["student"]["parameters"] == 2000
    assert report["models"]["base"]["protocol"] == {"sums": {"temperature": 1.0}, "needle": {"temperature": 0.0}}
    assert report["seconds"] >= 0


def test_a_page_and_json_are_asked_for_one_at_a_time(run, capsys):
    assert cli.main(["report", str(run.path), "--json", "--html"]) == 2
    assert capsys.readouterr() == ("", "retort report: --json and --html are asked for one at a time\n")


def test_json_has_curves_of_the_rollouts_that_are_kept(run, capsys):
    write_rows(run.artifacts()["score"].path / "student-sums.jsonl", ROWS)
    durable.write_json(
        run.artifacts()["needle"].path / "report.json", {"models": {"student": {"problems": {"sums": reduce(ROWS)}}}}
    )
    assert cli.main(["report", str(run.path), "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert models["student"]["curves"] == {"sums": curve(ROWS)}
    assert [point["k"] for point in models["student"]["curves"]["sums"]] == [1, 2]
    assert "curves" not in models["base"]


@pytest.mark.parametrize(("line", "counted"), [
    ("null", True), ("[1, 2]", True), ("{}", False), ('{"problem": "p0", "verdict": "correct"}', False),
    ('{"problem": "p0", "verdict": ["correct"], "extracted": null, "tokens": 1}', False),
])
def test_a_row_of_rollouts_that_is_none_is_no_traceback(run, line, counted, capsys):
    file = run.artifacts()["score"].path / "student-sums.jsonl"
    write_rows(file, ROWS)
    file.write_text(f"{line}\n{file.read_text()}")
    durable.write_json(
        run.artifacts()["needle"].path / "report.json", {"models": {"student": {"problems": {"sums": reduce(ROWS)}}}}
    )
    assert cli.main(["report", str(run.path), "--json"]) == 0
    assert ("curves" in json.loads(capsys.readouterr().out)["models"]["student"]) == counted


def test_text_has_the_stages_and_a_table_for_each_evaluate_stage(run, capsys):
    assert cli.main(["report", "tiny", "--runs", str(run.path.parent)]) == 0
    text = capsys.readouterr().out
    assert "base    pretrain  12s   123,456  made by an earlier run" in text
    assert "score: rates in percent" in text
    assert "needle: rates in percent" in text
    assert text.count("66.7 (") == 2
    assert "not made yet: later" in text
    path = run.path
    assert [line.split("  ")[1] for line in text.splitlines()[-3:]] == [
        "retort run tiny", f'retort ask {path} base "..."', f"retort compare {path}:student {path}:base",
    ]


def test_what_a_stage_of_somebody_elses_says_is_shown_as_far_as_it_goes(run, capsys):
    strange = {"tokens": "many", "expert_load_max_over_mean": "\x1b[2J", "expert_load_max_over_mean_at_start": None}
    run.link(1, "base", artifact(run.path.parent, "odd", "\x1b]0;x\x07", "model", strange))
    assert cli.main(["report", str(run.path)]) == 0
    text = capsys.readouterr().out
    assert "base    \\u001b]0;x\\u0007" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("content", [
    '{"models": {"m": {"parameters": 1%s, "problems": {}}}}' % ("0" * 400),
    "[]", "5", '{"models": []}', '{"models": {"m": 5}}', '{"models": {"m": {"problems": []}}}', "[" * 100_000,
    '{"models": {"m": {"problems": {"sums": {"n": 5}}}}}', "\ufeff{}",
    '{"models": {"m": {"problems": {"sums": {"n": 1, "rollouts": 1, "readable": 1, "mean_length": 1, "truncated": 0, '
    '"ungradable": 0, "pass@1": 1, "pass@1_ci95": [0, "1"]}}}}}',
])
def test_a_report_of_another_shape_is_one_line(run, content, capsys):
    file = run.artifacts()["score"].path / "report.json"
    file.write_text(content)
    for command in (["report", str(run.path)], ["compare", f"{run.path}:base", f"{run.path}:student"]):
        assert cli.main(command) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"{file}: cannot be read as a report (")
        assert err.count("\n") == 1


def test_a_run_without_numbers_says_so(tmp_path, capsys):
    run = RunFolder(tmp_path / "empty")
    run.begin("first", {"name": "empty", "stages": {"base": {}}}, "retort run empty")
    assert cli.main(["report", str(run.path)]) == 0
    assert "no model has been measured yet" in capsys.readouterr().out


def test_what_cannot_be_read_is_one_line(run, capsys):
    assert cli.main(["report", "tyni", "--runs", str(run.path.parent)]) != 0
    assert "did you mean 'tiny'?" in capsys.readouterr().err
    broken = run.artifacts()["score"].path / "report.json"
    broken.write_text('{"models"')
    assert cli.main(["report", str(run.path)]) == 1
    assert capsys.readouterr().err == f"{broken}: cannot be read as a report (JSONDecodeError)\n"


def test_the_machine_and_the_libraries_are_told(run, capsys):
    made = {"processor": "Some CPU", "hardware": "x86_64 AVX2", "versions": {"torch": "2.13.0", "python": "3.11.9"}}
    for artifact in run.artifacts().values():
        file = artifact.path / "stage.json"
        durable.write_json(file, {**json.loads(file.read_text()), **made})
    assert cli.main(["report", str(run.path)]) == 0
    assert "made on Some CPU, x86_64 AVX2, python 3.11.9, torch 2.13.0\n" in capsys.readouterr().out
    durable.write_json(file, {**json.loads(file.read_text()), "hardware": "x86_64 AVX512"})
    assert cli.main(["report", str(run.path)]) == 0
    told = capsys.readouterr().out
    assert "base, score: made on Some CPU, x86_64 AVX2, python 3.11.9, torch 2.13.0\n" in told
    assert "needle: made on Some CPU, x86_64 AVX512, " in told
