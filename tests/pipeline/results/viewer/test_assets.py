"""The script and the style of the viewer as texts of a page."""

import re
from pathlib import Path

from pipeline.results.viewer import assets

FOLDER = Path(assets.__file__).parent


def test_every_file_of_the_viewer_is_in_the_package_and_short_enough_to_read() -> None:
    text = assets.script() + assets.start() + assets.style() + assets.page()
    files = [file for file in FOLDER.iterdir() if file.suffix in (".js", ".css", ".j2")]
    assert len(files) > 5
    for file in files:
        content = file.read_text()
        assert content in text
        assert len(content.splitlines()) <= 400
        assert max(map(len, content.splitlines())) <= 120 or file.suffix == ".css"


def test_nothing_ends_the_element_that_the_script_or_the_style_stands_in() -> None:
    assert "</" not in assets.script() + assets.start()
    assert "<!--" not in assets.script() + assets.start()
    assert "<" not in assets.style()


def test_no_text_becomes_markup_or_a_program_and_nothing_is_loaded_from_elsewhere() -> None:
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser|createContextualFragment"
    assert re.findall(markup + r"|\beval\b|new Function|import\(", assets.script() + assets.start()) == []
    assert re.findall(r"https?:|url\(|@import", assets.script() + assets.start() + assets.style()) == []


def test_every_rule_of_the_style_is_inside_the_viewer() -> None:
    without = re.sub(r"/\*.*?\*/", "", assets.style(), flags=re.DOTALL)
    groups = re.findall(r"(?:^|[{};])\s*([^{};@]+)\{", without)
    selectors = [one.strip() for group in groups for one in group.split(",")]
    assert len(selectors) > 100
    assert [selector for selector in selectors if not selector.startswith(".rv")] == []
