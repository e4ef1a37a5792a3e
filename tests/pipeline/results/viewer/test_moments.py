"""The moments at which a problem was asked, in a browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any  # playwright is an extra, and may not be installed

import pytest

from pipeline.results.viewer.embedded import embedded
from tests.pipeline.results.viewer import kept
from tests.pipeline.results.viewer.pages import browser, file_with, opened

__all__ = ["browser", "opened"]  # fixtures
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_ways_of_asking_one_model_are_moments_of_their_own(opened: Callable[..., Any], tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "score")
    rows = [kept.evaluated(0, index, "correct", "<answer>19</answer>") for index in range(2)]
    kept.evaluate(tmp_path, run, {"zero": rows}, ["sums:test low", "sums:test high"])
    page = opened(file_with(tmp_path, embedded(run, 10**6)))
    assert page.text_content(".rv-learned .rv-muted") == "moment 1 of 2: score · zero · sums:test low"
    assert page.locator(".rv-group .rv-chip").count() == 2
    page.get_by_role("button", name="after →").click()
    page.locator(".rv-learned .rv-muted", has_text="sums:test high").wait_for()
    assert "sums:test high" in page.text_content(".rv-title p")
