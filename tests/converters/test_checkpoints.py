"""Files of weights are read and written bit for bit; nothing in them is run."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from anyx.converters import checkpoints
from anyx.converters.llama import llama_said


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def weights() -> OrderedDict[str, torch.Tensor]:
    return OrderedDict(a=nn.Parameter(torch.randn(3, 4).half()), b=torch.randn(2), c=torch.tensor(1.0))


@pytest.mark.parametrize("name", ["pytorch_model.pt", "model.safetensors"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    state = weights()
    checkpoints.write(state, tmp_path / "new" / name)
    assert [file.name for file in (tmp_path / "new").iterdir()] == [name]
    for path in (tmp_path / "new" / name, tmp_path / "new"):
        found = checkpoints.read(path)
        assert {n: (t.dtype, t.shape) for n, t in found.items()} == {n: (t.dtype, t.shape) for n, t in state.items()}
        assert all(torch.equal(found[n], t) for n, t in state.items())


def test_a_view_is_written_without_the_rest(tmp_path: Path) -> None:
    checkpoints.write({"rows": torch.zeros(100_000, 8)[:2]}, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").stat().st_size < 10_000


@pytest.mark.parametrize("zipped", [True, False])
def test_parameters_in_both_of_pytorchs_forms_and_behind_a_prefix(tmp_path: Path, zipped: bool) -> None:
    state = weights()
    wrapped = OrderedDict((f"module.{name}", tensor) for name, tensor in state.items())
    torch.save(wrapped, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = checkpoints.read(tmp_path / "a.pt")
    assert list(found) == list(state)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    torch.save(wrapped | {"b": torch.ones(1)}, tmp_path / "b.pt")
    assert "module.a" in checkpoints.read(tmp_path / "b.pt"), "a prefix of some names is part of them"


@pytest.mark.parametrize("plain", [True, False])
def test_no_code_is_run(tmp_path: Path, plain: bool) -> None:
    evil = {"a": torch.ones(1), "b": Evil(tmp_path / "ran")}
    if plain:
        (tmp_path / "a.pt").write_bytes(pickle.dumps(evil, protocol=2))
    else:
        torch.save(evil, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt holds more than weights: .* nothing in it was run"):
        checkpoints.read(tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()
    with (tmp_path / "a.pt").open("rb") as file:  # it would have run in a reader that trusts: the test can fail
        torch.load(file, weights_only=False) if not plain else pickle.load(file)
    assert (tmp_path / "ran").exists()


def test_what_is_no_file_of_weights_is_named(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "epoch": 3, "optimizer": {}}, tmp_path / "more.pt")
    torch.save(torch.ones(2), tmp_path / "bare.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "more.pt").read_bytes()[:200])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    (tmp_path / "folder").mkdir()
    for name, told in {
        "more.pt": "holds more than tensors: epoch, optimizer",
        "bare.pt": "holds a Tensor; it should map names to tensors",
        "cut.pt": "(holds more than weights|cannot be read)",
        "empty.pt": "(holds more than weights|cannot be read)",
        "cut.safetensors": "cannot be read",
        "folder": r"has 0 of pytorch_model\.pt",
        "none.pt": "there is no checkpoint",
    }.items():
        with pytest.raises(ValueError, match=told):
            checkpoints.read(tmp_path / name)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "a mapping is needed, but a list was found"),
        ("{}", "'weight_map', names of tensors with their files, is needed"),
        ('{"weight_map": {"a": "x-1.safetensors"}}', "lists files that are not there: x-1.safetensors"),
    ],
)
def test_a_broken_index_is_named(tmp_path: Path, index: str, words: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ValueError, match=rf"model\.safetensors\.index\.json.* {words}"):
        checkpoints.read(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_broken_settings_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json.* (cannot be read|a mapping is needed)"):
        checkpoints.settings(tmp_path)


def test_settings_are_numbers_and_mappings() -> None:
    told = {"eps": 1e-6, "heads": 32, "none": None, "tower": {"eps": 1}}
    assert [checkpoints.number(told, name) for name in ("eps", "heads", "none", "lacking")] == [1e-6, 32, None, None]
    for wrong in ("32", True, 0, -1, [1], float("nan"), float("inf")):
        with pytest.raises(ValueError, match="settings is no number above 0"):
            checkpoints.number({"heads": wrong}, "heads")
    assert checkpoints.section(told, "tower") == {"eps": 1}
    assert checkpoints.section(told, "none") == checkpoints.section(told, "lacking") == {}
    with pytest.raises(ValueError, match="heads: 32 of the checkpoint's settings is no mapping"):
        checkpoints.section(told, "heads")


def test_what_is_said_of_a_llama() -> None:
    """A base's rotations give way to the checkpoint's."""
    told = {"num_attention_heads": 32, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    assert llama_said(told) == {"num_attention_heads": 32, "rms_norm_eps": 1e-6} | rope
    assert llama_said({}) == {}
    for name, wrong in (("rms_norm_eps", "x"), ("rope_theta", []), ("rope_scaling", {"type": "linear", "factor": 2})):
        with pytest.raises(ValueError, match=f"{name}: .* of the checkpoint's settings is no"):
            llama_said({name: wrong})
