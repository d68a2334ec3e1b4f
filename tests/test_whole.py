"""Whole parts in a file: equal ones are equal to the last byte, by which a model folder is known."""

from pathlib import Path

import torch

from anyx import whole


def test_equal_parts_are_equal_files(tmp_path: Path) -> None:
    """Ten times, for what has no order comes in another one each time."""
    tensors = {"a.weight": torch.arange(3.0), "b.weight": torch.ones(2)}
    for place in range(10):
        whole.save(tensors, ["a", "b"], tmp_path / str(place))
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1
