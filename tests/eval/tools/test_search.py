"""Passages by BM25."""

from pathlib import Path

import pytest

from eval.errors import ToolError
from eval.tools.asking import observation
from eval.tools.tool import Call, tools_of
from eval.tools.use import ToolUse


def test_the_nearest_passages_are_told_with_where_they_stand(tmp_path: Path) -> None:
    pytest.importorskip("bm25s")
    (tmp_path / "docs" / "rivers").mkdir(parents=True)
    (tmp_path / "docs" / "rivers" / "rhine.md").write_text("The Rhine is 1,233 km long.\n\nIt ends in the North Sea.")
    (tmp_path / "docs" / "hills.txt").write_text("Hills are lower than mountains.")
    (tmp_path / "docs" / "picture.png").write_bytes(b"Rhine")
    tools = tools_of(ToolUse(("search",), folder=str(tmp_path), documents="docs"))
    said = observation(tools, Call("search", {"query": "how long is the Rhine?"}))
    assert said.startswith("[rivers/rhine.md] The Rhine is 1,233 km long.")
    assert "picture" not in said
    assert observation(tools, Call("search", {"query": "zebra"})) == "nothing was found"
    assert observation(tools, Call("search", {"query": "?!"})) == "nothing was found"


def test_a_folder_without_documents_is_told(tmp_path: Path) -> None:
    pytest.importorskip("bm25s")
    for folder, said in (("absent", "is none"), (".", "has no document")):
        with pytest.raises(ToolError, match=said):
            tools_of(ToolUse(("search",), folder=str(tmp_path), documents=folder))


def test_documents_without_words_and_those_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bm25s")
    (tmp_path / "signs").mkdir()
    (tmp_path / "signs" / "a.txt").write_text("?! ..")
    with pytest.raises(ToolError, match="no word that could be looked for"):
        tools_of(ToolUse(("search",), folder=str(tmp_path), documents="signs"))

    def refuses(file: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied", str(file))

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "b.txt").write_text("Rhine")
    monkeypatch.setattr(Path, "read_text", refuses)  # who is root may read everything
    with pytest.raises(ToolError, match=r"b\.txt cannot be read, .* \(Permission denied\)"):
        tools_of(ToolUse(("search",), folder=str(tmp_path), documents="mine"))
