"""Frozen components: what they are known by, and in which precision they compute.

Encoders compute as a stage keeps their features (`Numbers`), whether these are kept or not, so that training from the
cache is training without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Origin(NamedTuple):
    """Files and folders that all weights of a component are read from, and its other settings as text."""

    paths: tuple[Path, ...]
    settings: str

    def files(self) -> list[tuple[str, Path]]:
        """Every file that may count, with its name; no notes for readers, nothing hidden."""
        found = []
        for place, path in enumerate(self.paths):
            inside = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
            for file in inside:
                name = file.relative_to(path).as_posix()
                if not name.endswith(".md") and not any(
                    part.startswith(".") for part in Path(name).parts if name != "."
                ):
                    found.append((f"{place}/{name}", file))
        return found


class Numbers(NamedTuple):
    """How frozen encoders compute: `own` in their own type whatever the step's precision; `kept` rounds float32."""

    own: bool = False
    kept: torch.dtype | None = None

    @contextlib.contextmanager
    def around(self, encoder: nn.Module) -> Iterator[None]:
        """The step's precision, where the encoder is of float32 and is to have it; else its own."""
        parameters = list(encoder.parameters())
        device = parameters[0].device.type if parameters and not parameters[0].is_meta else "cpu"
        own = self.own or any(p.is_floating_point() and p.dtype != torch.float32 for p in parameters)
        with torch.autocast(device, enabled=False) if own else contextlib.nullcontext():
            yield

    def rounded(self, values: Tensor) -> Tensor:
        """As it is kept; what is no float32 stays what it is."""
        return values.to(self.kept) if self.kept is not None and values.dtype == torch.float32 else values
