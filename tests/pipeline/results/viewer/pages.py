"""Pages in a browser, for tests with the mark `browser`."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any  # playwright is an extra, and may not be installed

import pytest

from pipeline.results.viewer import assets

CHROMIUM = os.environ.get("RETORT_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Rollouts</title>
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<style>html, body, #viewer {{ height: 100%; margin: 0 }}{style}</style>
<main id="viewer"></main><script type="text/plain" id="rollouts">{rollouts}</script>
<script>{script}
embeddedSource(document.getElementById("rollouts")).then((source) => {{
  window.viewer = mountViewer(document.getElementById("viewer"), source);
}});
</script></html>"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser")
    if not Path(CHROMIUM).is_file():
        pytest.skip(f"there is no browser at {CHROMIUM}: install chromium, or name one by RETORT_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        # Without its sandbox, which root does not have in a container.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """opened(address) is a page that has loaded rollouts, or what `ready` selects; after the test nothing may have gone
    wrong on it, and nothing may have been asked of another place than that address."""
    contexts: list[Any] = []
    faults: list[str] = []

    def open_page(address: str, ready: str = ".rv-title", **settings: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda request: request.url.startswith(address) or faults.append(f"asked {request.url}"))
        page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(address)
        page.wait_for_selector(ready)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def file_with(folder: Path, rollouts: str) -> str:
    """The address of a page that holds these rollouts, as one may find it in a mail."""
    file = folder / "rollouts.html"
    file.write_text(PAGE.format(style=assets.style(), script=assets.script(), rollouts=rollouts), encoding="utf-8")
    return file.as_uri()
