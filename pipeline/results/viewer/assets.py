"""The viewer's script and style, as texts for a page to hold."""

from pathlib import Path

_HERE = Path(__file__).parent
_SCRIPTS = ("text", "sources", "list", "filters", "tokens", "reading", "viewer")


def script() -> str:
    """The script of the viewer, for a `<script>` element. It defines `mountViewer(root, source)`,
    `embeddedSource(element)` and `servedSource()`, and nothing else that a page can see."""
    parts = "\n".join((_HERE / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    return (f'const {{ mountViewer, embeddedSource, servedSource }} = (() => {{\n"use strict";\n{parts}\n'
            "return { mountViewer, embeddedSource, servedSource };\n})();\n")


def start() -> str:
    """What shows the viewer on the page of `retort look`, after `script`."""
    return (_HERE / "start.js").read_text(encoding="utf-8")


def style() -> str:
    """The style of the viewer, for a `<style>` element. It touches nothing outside of the element that is mounted."""
    return (_HERE / "viewer.css").read_text(encoding="utf-8")


def page() -> str:
    """The template of the page of `retort look`."""
    return (_HERE / "page.html.j2").read_text(encoding="utf-8")
