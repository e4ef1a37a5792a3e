"""The notebook of the quickstart, executed from its first cell to its last on the smoke recipe's run."""

import base64
import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parent.parent / "recipes" / "notebooks" / "quickstart.ipynb"
PNG = b"\x89PNG\r\n\x1a\n"

pytestmark = pytest.mark.xdist_group("smoke")


def test_it_is_stored_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert all((cell.outputs, cell.execution_count) == ([], None) for cell in cells if cell.cell_type == "code")


def test_it_runs_and_draws(smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a copy of a finished run, of which nothing is made again; each plot has a shape for every model or stage."""
    shutil.copytree(smoke / "runs", tmp_path / "runs", symlinks=True)
    monkeypatch.setenv("RETORT_RECIPE", "smoke")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    look = "print(len({row['model'] for row in scores}), sorted({row['stage'] for row in steps}), len(steps))"
    notebook.cells.append(nbformat.v4.new_code_cell(look))
    client.execute()
    assert notebook.cells[-1].outputs[0].text == "9 ['r1', 'student_rl', 'zero'] 8\n"
    drawn = [output.data["image/png"] for cell in notebook.cells if cell.cell_type == "code"
             for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(drawn) == 2
    assert all(base64.b64decode(image).startswith(PNG) and len(image) > 10_000 for image in drawn)
