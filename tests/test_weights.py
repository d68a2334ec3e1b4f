"""Files of weights: what is wanted comes out, what is broken or no weights is one ValueError that names the file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from anyx import weights
from anyx.encoders.weights import load
from anyx.qformer import QFormer

STATE = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_only_what_is_wanted_is_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"some{suffix}"
    torch.save(STATE, file) if suffix == ".pt" else save_file(STATE, file)
    names, found = weights.read(file, {"b"})
    assert sorted(names) == ["a", "b"]
    assert list(found) == ["b"]
    assert torch.equal(found["b"], STATE["b"])
    assert weights.read(file)[1].keys() == STATE.keys()


@pytest.mark.parametrize("name", ["words.pth", "words.bin", "words.safetensors"])
def test_broken_files_are_named_by_all_who_read_them(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("these are no weights")
    readers = (
        weights.read,
        lambda path: load(torch.nn.Linear(2, 2), path),
        QFormer(8, 5, layers=1, heads=2).start_from,
    )
    for reader in readers:
        with pytest.raises(ValueError, match=rf"{name} (cannot be read|holds more than weights)"):
            reader(file)
