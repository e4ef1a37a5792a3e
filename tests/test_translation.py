"""README.ko.md says what README.md says: the same commands, figures, links and files, in the same order of sections."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGLISH, KOREAN = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)]*)\)")
EACH_OTHER = {"README.md", "README.ko.md"}


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Every block of code, line by line, without what a person reads beside it: comments, and what a command does."""
    return [(kind, [re.split(r"\s+# |(?<=\S) {2,}(?=\S)", line)[0].rstrip() for line in body.splitlines()])
            for kind, body in FENCED.findall(text)]


def prose(text: str) -> str:
    """The text around blocks, without addresses."""
    return LINK.sub(r"\1", FENCED.sub("", text))


def code(text: str) -> Counter[str]:
    return Counter(re.findall(r"`([^`]+)`", prose(text)))


def figures(text: str) -> Counter[str]:
    return Counter(re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"`[^`]+`", "", prose(text))))


def addresses(text: str) -> Counter[str]:
    return Counter(address for _, address in LINK.findall(text) if address not in EACH_OTHER)


def shape(text: str) -> list[str]:
    """Headings by their depth, and rows of tables by the number of their cells, in order."""
    lines = FENCED.sub("```", text).splitlines()
    return [re.match(r"#+", line)[0] if line.startswith("#") else f"| {line.count('|')}"  # type: ignore[index]
            for line in lines if line.startswith(("#", "|"))]


def test_both_have_the_same_commands_figures_and_links() -> None:
    assert blocks(KOREAN) == blocks(ENGLISH)
    assert code(KOREAN) == code(ENGLISH)
    assert figures(KOREAN) == figures(ENGLISH)
    assert addresses(KOREAN) == addresses(ENGLISH)
    assert shape(KOREAN) == shape(ENGLISH)


@pytest.mark.parametrize(("said", "other", "differs"), [
    ("`retort doctor`", "`retort doktor`", code), ("88.9 (", "88.8 (", figures), ("make quickstart", "make", blocks),
    ("retort look quickstart:zero", "retort look quickstart:r1", blocks), ("steps: 100", "steps: 10", blocks),
    ("](SECURITY.md)", "](README.md)", addresses), ("## 명령\n", "명령\n", shape),
])
def test_a_difference_is_seen(said: str, other: str, differs: object) -> None:
    assert said in KOREAN
    assert callable(differs)
    assert differs(KOREAN.replace(said, other)) != differs(ENGLISH)


def test_it_is_korean() -> None:
    """No paragraph was left in English."""
    paragraphs = [text for text in prose(KOREAN).split("\n\n") if len(text) > 60 and not text.startswith("|")]
    assert len(paragraphs) > 10
    assert all(len(re.findall("[가-힣]", text)) > len(text) / 4 for text in paragraphs)
