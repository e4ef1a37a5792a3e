"""Tool `search`: the passages of a folder of documents that are nearest to some words, by BM25 (Robertson and Zaragoza
2009), as the library bm25s reckons it."""

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from eval.errors import ToolError
from rewards.lazy import lazy

with lazy:
    import bm25s

FOUND = 3
"""Passages that are told."""
LONGEST_PASSAGE = 600
"""Characters of a passage. Paragraphs that are longer are cut into several."""
ENDINGS = (".txt", ".md")


def search(query: str) -> str:
    """Finds the passages of the documents that are nearest to some words.

    Args:
        query: The words to look for.
    """
    raise ToolError(f"there is no folder of documents to look for {query!r} in")


def searcher(folder: Path) -> Callable[[str], str]:
    """`search` over the texts of a folder. Raises ToolError where there are none, or bm25s is not installed."""
    if importlib.util.find_spec("bm25s") is None:
        raise ToolError("the tool search needs bm25s: pip install 'retort[search]'")
    named = passages(folder)
    words_of_all = bm25s.tokenize([text for _, text in named], show_progress=False)
    if not words_of_all.vocab:
        raise ToolError(f"the documents in {folder} have no word that could be looked for")
    index = bm25s.BM25()
    index.index(words_of_all, show_progress=False)

    def found(query: str) -> str:
        words = bm25s.tokenize(query, show_progress=False, return_ids=False)
        if not words or not words[0]:
            return "nothing was found"
        places, scores = index.retrieve(words, k=min(FOUND, len(named)), show_progress=False)
        near = [named[int(place)] for place, score in zip(places[0], scores[0], strict=True) if score > 0]
        return "\n\n".join(f"[{name}] {text}" for name, text in near) or "nothing was found"

    return found


@lru_cache(maxsize=4)
def passages(folder: Path) -> tuple[tuple[str, str], ...]:
    """The name of a document and a paragraph of it, in the order of names. Raises ToolError."""
    try:
        if not folder.is_dir():
            raise ToolError(f"the tool search looks in a folder of documents, and {folder} is none")
        files = sorted(file for file in folder.rglob("*") if file.suffix in ENDINGS and file.is_file())
        found = [(file.relative_to(folder).as_posix(), part)
                 for file in files for part in _parts(file.read_text(encoding="utf-8", errors="replace"))]
    except OSError as error:
        raise ToolError(f"{error.filename or folder} cannot be read, a document of the tool search "
                        f"({error.strerror or error})") from error
    if not found:
        raise ToolError(f"{folder} has no document whose name ends in {' or '.join(ENDINGS)}")
    return tuple(found)


def _parts(text: str) -> list[str]:
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    return [part[at : at + LONGEST_PASSAGE] for part in paragraphs for at in range(0, len(part), LONGEST_PASSAGE)]
