"""Hashes of what was written, to know it again."""

import hashlib
from pathlib import Path


def file_hashes(folder: Path, manifest: str) -> dict[str, str]:
    """SHA-256 of every file under `folder` but its manifest, by relative path, sorted."""
    found: dict[str, str] = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / manifest):
        with file.open("rb") as stream:
            found[file.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
