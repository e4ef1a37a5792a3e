"""Modules of environments and tasksets that only a test has."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewards.conventions import remote


@pytest.fixture
def own_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder whose modules are imported in this test alone, here and where rewards are asked; among them may be
    `verifiers`, of which this test has its own or the package's."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("rewards.grade._loaded", {})
    before = set(sys.modules)
    remote.close()  # the next process has this search path
    yield tmp_path
    remote.close()
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if name.partition(".")[0] == "verifiers" or file.startswith(str(tmp_path)):
            del sys.modules[name]
