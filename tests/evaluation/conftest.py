"""An experiment of shapes."""

from pathlib import Path

import pytest
from shapes import YAML


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "evaluation.yaml").write_text(YAML)
    return tmp_path
