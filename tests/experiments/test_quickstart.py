"""The notebook runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FILE = Path(__file__).parents[2] / "experiments" / "quickstart.ipynb"


def shown(cell: Any) -> str:
    """What a cell printed and what its last line is, without warnings."""
    said = [one for one in cell["outputs"] if one.get("name") != "stderr"]
    texts = [one.get("text", "") + one.get("data", {}).get("text/plain", "") for one in said]
    return "".join(texts)


def test_it_runs_and_shows_what_it_says() -> None:
    notebook = nbformat.read(FILE, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells), "strip the outputs before a commit"
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(FILE.parent)}}
    ).execute()
    loaded, drawn, answered, swapped, trained, again = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert shown(loaded) == "(['image', 'audio', 'video'], ['image', 'audio', 'video'])"
    assert shown(drawn).startswith("two red circles on the left")
    assert any("image/png" in one.get("data", {}) for one in drawn.outputs)
    assert "two red circle" in shown(answered)
    assert shown(swapped) == shown(again) == "'ResamplerInputProjector'"
    assert "TRAINABLE" in shown(trained)
    assert "perceive,4," in shown(trained)
