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
