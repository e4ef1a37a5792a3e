"""The page of a run: complete in itself, bounded, and with nothing in it that a text could do."""

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.commands import cli
from pipeline.contract.checkpoints import METRICS
from pipeline.disk import durable
from pipeline.results.page import drawing, scores, tables
from pipeline.results.page.charts import of_stage
from pipeline.results.page.document import inlined, page
from pipeline.store.run_folder import RunFolder

HOSTILE = '</script><img src=x onerror="window.hit=1"><script>window.hit=1</script>\x1b[31m\u202e'


@pytest.fixture
def run(smoke: Path, tmp_path: Path) -> RunFolder:
    """A copy of the smoke recipe's run, to be changed."""
    shutil.copytree(smoke / "runs", tmp_path / "runs", symlinks=True)
    return RunFolder(tmp_path / "runs" / "smoke")


class Elements(HTMLParser):
    """Counts elements, and collects what they would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.fetched += [str(value) for key, value in attrs
                         if key in ("src", "srcset", "data", "action") or (key == "href" and tag != "a")]


def data_of(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    data: dict[str, object] = json.loads(found[1])
    return data


def test_every_stage_and_score_is_on_the_page_and_nothing_is_fetched(run: RunFolder) -> None:
    text = page(run)
    assert text == page(run)
    assert Elements(text).fetched == []
    assert "default-src 'none'" in html.unescape(text)
    for name in run.artifacts():
        assert f">{name}<" in text
    data = data_of(text)
    titles = [chart["title"] for chart in data["charts"]]  # type: ignore[attr-defined]
    assert titles[0] == "Lineage"
    assert {"Reward", "Loss", "Load of experts", "Dead experts", "Entropy"} <= set(titles)
    assert "pass@k on programs" in titles
    assert len(text.encode()) < 5e6


def test_ten_times_the_steps_stay_under_five_megabytes(run: RunFolder) -> None:
    for artifact in run.artifacts().values():
        rows = durable.rows(artifact.path / METRICS)
        wide = {f"reward/rule_{i}": 0.123456789 * i for i in range(12)}
        (artifact.path / METRICS).write_text("".join(
            json.dumps({**rows[i % len(rows)], **wide, "step": i}) + "\n" for i in range(3000) if rows
        ))
    assert len(page(run).encode()) < 5e6


def test_texts_from_outside_are_data(run: RunFolder) -> None:
    scripts = Elements(page(run)).names.count("script")
    recipe = run.recipe()
    durable.write_json(run.path / "recipe.json", {**recipe, "name": HOSTILE})
    for artifact in run.artifacts().values():
        durable.append_row(artifact.path / METRICS, {"step": 1, HOSTILE: 0.5})
    text = page(run)
    names = Elements(text).names
    assert names.count("script") == scripts
    assert "img" not in names
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "window.hit=1" in text


def test_inlined_data_come_back_and_end_no_element() -> None:
    data = {"text": HOSTILE, "numbers": [1.5, None]}
    assert json.loads(inlined(data)) == data
    assert "<" not in inlined(data)


def test_money_is_told_where_a_price_is_given(run: RunFolder) -> None:
    assert "money, at" not in page(run)
    assert "money, at 3.5 an hour" in page(run, 3.5)


def test_the_command_writes_it_into_the_runs_folder(
    run: RunFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["report", str(run.path), "--html"]) == 0
    assert "report.html" in capsys.readouterr().out
    assert (run.path / "report.html").read_text(encoding="utf-8") == page(run)
    assert cli.main(["report", str(run.path), "--html", str(tmp_path / "here.html"), "--per-hour", "2"]) == 0
    assert (tmp_path / "here.html").is_file()
    assert cli.main(["report", str(run.path), "--per-hour", "2"]) == 2


def test_a_run_that_has_made_nothing_has_a_page(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "runs" / "new")
    run.begin("first", {"name": "new", "file": "new.yaml", "overrides": [], "stages": {"base": {}}}, "retort run new")
    text = page(run)
    assert "retort run new" in text
    assert "are not made yet: base" in text


def test_every_chart_is_one_that_vega_draws() -> None:
    columns = tables.curves([{"step": i, "loss": 1 / (1 + i), "verdict/wrong": 0.5, "verdict/correct": 0.5,
                              "odd.name[0]|least": i} for i in range(600)])
    assert columns
    cells = tables.loads([{"step": i, "moe/load": {"0": [0.5, 1.5]}} for i in range(3)])
    models = {"a": {"problems": {"sums": {"pass@1": 0.5, "pass@1_ci95": [0.4, 0.6], "n": 10, "rollouts": 2}}}}
    drawn = [*of_stage("base", columns, cells), *scores.of_models(models)]
    assert [chart.title for chart in drawn] == ["Loss", "Verdicts", "Load of experts", "odd.name[0]|least", "sums"]
    for chart in drawn:
        assert drawing.as_png(chart, {"base": columns}).startswith(b"\x89PNG")
