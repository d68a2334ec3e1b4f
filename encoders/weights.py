"""Reading published weights into a module: its own keys, all of them, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from anyx.packaged import locate
from anyx.weights import read


def load(model: nn.Module, path: str | Path, *, whole: Sequence[str] = ()) -> None:
    """Load the model's keys from a .pth / .pt file, a safetensors file or a folder with model.safetensors.

    An id of `packaged.PACKAGED` is such a folder. Other keys of the file are not read, but those that begin with one of
    `whole` the model must have. On the meta device nothing is read.
    """
    wanted = model.state_dict()
    if any(tensor.is_meta for tensor in wanted.values()):
        return
    file = Path(locate(str(path)))
    file = file / "model.safetensors" if file.is_dir() else file
    if not file.is_file():
        raise ValueError(f"path: no weights at {file}; give a .pth or .safetensors file, or a folder of the latter")
    keys, found = read(file, wanted)
    missing = [key for key in wanted if key not in found]
    if missing:
        raise ValueError(f"{file} lacks {len(missing)} of the {len(wanted)} keys wanted, first {missing[0]!r}")
    unknown = [key for key in keys if key.startswith(tuple(whole)) and key not in wanted]
    if unknown:
        raise ValueError(f"{file}: {len(unknown)} keys have no place in the sizes given, first {unknown[0]!r}")
    wrong = [key for key in wanted if found[key].shape != wanted[key].shape]
    if wrong:
        shapes = f"{tuple(found[wrong[0]].shape)}, but the sizes given make {tuple(wanted[wrong[0]].shape)}"
        raise ValueError(f"{file}: {len(wrong)} keys have another shape, first {wrong[0]!r}: {shapes}")
    model.load_state_dict(found)
