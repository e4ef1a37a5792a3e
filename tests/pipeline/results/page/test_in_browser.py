"""The page of a run in a browser: drawn, readable by everybody, and with nothing in it that runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any  # playwright is an extra, and may not be installed

import pytest

from pipeline.contract.checkpoints import METRICS
from pipeline.disk import durable
from pipeline.results.page.document import page as page_of
from pipeline.store.kept_rollouts import KeptRollouts
from pipeline.store.run_folder import RunFolder
from pipeline.store.store import Store
from tests.pipeline.results.page.test_document import HOSTILE, run
from tests.pipeline.results.viewer.pages import browser, opened

__all__ = ["browser", "opened", "run"]  # fixtures
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

Open = Callable[..., Any]
WRITTEN = ["plain", HOSTILE, "x" * 1_000_000]


@pytest.fixture
def file(run: RunFolder, tmp_path: Path) -> Path:
    """The page of a run in which a stage was called, a model wrote and a metric was named what nobody hopes for."""
    grpo = next(one for one in run.artifacts().values() if one.manifest["kind"] == "grpo")
    durable.append_row(grpo.path / METRICS, {"step": 1, HOSTILE: 0.5})
    rows = [{"step": 1, "problem": "p1", "family": "sums", "rollout": i, "prompt": HOSTILE, "text": text,
             "thinking": "", "answer": text, "verdict": "wrong", "reason": HOSTILE, "reward": 0.5}
            for i, text in enumerate(WRITTEN)]
    kept = KeptRollouts(Store(run.path.parent).kept / grpo.path.name)
    for old in kept.files().values():
        old.unlink()
    kept.write(1, rows)
    path = tmp_path / "report.html"
    path.write_text(page_of(run), encoding="utf-8")
    return path


def test_every_chart_is_drawn_and_nothing_is_fetched(opened: Open, file: Path) -> None:
    page = shown(opened, file)
    closed = page.locator("#stages > details:not([open]) > summary")
    while closed.count():
        closed.first.click()
    boxes = page.locator(".plot")
    for number in range(boxes.count()):
        boxes.nth(number).scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelectorAll('.plot:not([data-drawn])').length === 0")
    assert boxes.count() > 10
    # Something other than one colour on each.
    colours = page.evaluate("""() => [...document.querySelectorAll(".plot canvas")].map((canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
    })""")
    assert len(colours) == boxes.count()
    assert min(colours) > 3


def test_what_a_model_wrote_is_shown_and_not_done(opened: Open, file: Path) -> None:
    page = shown(opened, file)
    page.locator("#rollouts").scroll_into_view_if_needed()
    page.wait_for_selector(".rv-title")
    page.locator(".rv-row", has_text="p1").nth(1).click()
    page.wait_for_function("() => document.querySelector('.rv').textContent.includes('window.hit=1')")
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 0
    assert "\x1b" not in page.locator("body").inner_text()


def test_the_pointer_shows_numbers(opened: Open, file: Path) -> None:
    page = shown(opened, file)
    chart = page.locator("#stages .plot").first
    chart.scroll_into_view_if_needed()
    page.wait_for_selector("#stages .plot[data-drawn] canvas")
    chart.locator("canvas").hover(position={"x": 150, "y": 60})
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "step" in page.locator("#vg-tooltip-element").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(opened: Open, file: Path, scheme: str) -> None:
    """Those of axe-core, which knows contrast, names, roles and the way of the keyboard."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: make browser")
    # Its script is put into the page, whose policy would not have it.
    page = shown(opened, file, color_scheme=scheme, bypass_csp=True)
    page.wait_for_selector(".plot[data-drawn]")
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], json.dumps(found)[:2000]


def shown(opened: Open, file: Path, **settings: Any) -> Any:
    return opened(file.as_uri(), ready="main", **settings)
