"""Names of a YAML's ports that no model could use."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_config import MODEL, errors


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("values", "is a name that PyTorch's modules have for themselves"),
        ("text", "stands for words in a conversation, which need no port"),
    ],
)
def test_a_port_that_could_not_be_used_is_refused(key: str, why: str, tmp_path: Path) -> None:
    found = errors(tmp_path, inputs={key: MODEL["inputs"]["image"] | {"media": "image"}}, stages={})
    assert found == [f"inputs.{key}: the key {key!r} {why}; name it otherwise"]
