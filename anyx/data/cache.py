"""A content-addressed cache of tensors in safetensors: what frozen components computed once.

A key is a digest of everything the value depends on: the media's bytes (or the caption), the augmented copy, the
transform, and the component with its settings and weights. A changed weight is another key, so the cache is never
wrong, only colder. Values are small named tensors. They are written in shards, each atomically and named by its
content; a shard that was cut short is removed and computed again. A cache can be pickled into workers: each opens the
shards anew, memory-mapped.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from anyx.digests import bytes_of, digest

Value = dict[str, Tensor]


class FeatureCache:
    """Digest -> named tensors, kept in a folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index: dict[str, tuple[str, tuple[str, ...]]] = {}  # digest -> shard, names
        self._open: dict[str, Any] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                self._read(path.name)
            except SafetensorError:
                path.unlink()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __contains__(self, digest: str) -> bool:
        return digest in self._index

    def __getitem__(self, digest: str) -> Value:
        shard, names = self._index[digest]
        file = self._open.get(shard)
        if file is None:
            file = self._open[shard] = safe_open(self.folder / shard, framework="pt")
        return {name: file.get_tensor(f"{digest}/{name}") for name in names}

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those that are not here, each once, in order."""
        return [digest for digest in dict.fromkeys(digests) if digest not in self._index]

    def put(self, values: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write a shard of values."""
        flat = {f"{key}/{name}": x.detach().cpu().contiguous() for key, v in values.items() for name, x in v.items()}
        if not flat:
            return
        name = f"{digest(*sorted(flat))[:24]}.safetensors"
        save_atomic(flat, self.folder / name)
        self._open.pop(name, None)
        self._read(name)

    def _read(self, shard: str) -> None:
        found: dict[str, list[str]] = {}
        with safe_open(self.folder / shard, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118
                value, _, name = key.partition("/")
                found.setdefault(value, []).append(name)
        self._index.update({value: (shard, tuple(names)) for value, names in found.items()})


def save_atomic(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file so that a reader finds the old one or the new one, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(dict(tensors), part, dict(metadata or {}))
    os.replace(part, path)


def module_digest(module: nn.Module, *more: bytes | str | int) -> str:
    """A digest of a module's class and weights."""
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    return parameters_digest(module.state_dict().values(), name, *module.state_dict(), *more)


def parameters_digest(tensors: Iterable[Tensor], *more: bytes | str | int) -> str:
    """A digest of weights, of every one: about a second for a gigabyte."""
    found = (digest(str(x.dtype), str(tuple(x.shape)), bytes_of(x.detach().reshape(-1))) for x in tensors)
    return digest(*more, *found)


def transform_digest(transform: Any) -> bytes:
    """What a transform is, with its settings (transforms are picklable and hold no weights)."""
    return pickle.dumps(transform)
