"""Backbones: the encoders and decoders of a YAML without an LLM, to be trained by the same stages.

A part is a part: `encoders.<name>` learns by `contrastive`, `outputs.<key>.decoder.vae` by `reconstruct`, `.denoiser`
(and `.text`) by `denoise`. Saving writes a folder each: `encoders/<name>/model.safetensors`, and `decoders/<key>/` in
the layout that the decoder's own `path` reads, so that a YAML with an LLM names them as it would name published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import nn
from torch.nn import Parameter

from anyx import registry
from anyx.build import build_decoders, build_encoders
from anyx.config import Config
from anyx.durable import save_tensors
from anyx.interfaces import Decoder, Encoder
from anyx.model import AnyX
from anyx.ports import within


@runtime_checkable
class Saves(Protocol):
    """A decoder that writes a folder that its `path` reads."""

    def save(self, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
        """Write the folder."""
        ...


@dataclass(frozen=True)
class Read:
    """An input without a projector: the name of its encoder."""

    encoder: str


@dataclass(frozen=True)
class Made:
    """An output without a projector: its decoder."""

    decoder: Decoder

    @property
    def known(self) -> Decoder:
        """The same: nothing of backbones waits."""
        return self.decoder

    @property
    def origin(self) -> None:
        """None: they may learn."""
        return None


class Backbones(nn.Module):
    """Encoders by name, decoders by output key. By key also: `kinds`, classes of media; `inputs`, names of encoders."""

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        decoders: Mapping[str, Decoder],
        *,
        kinds: Mapping[str, type[Any]],
        inputs: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.kinds = dict(kinds)
        self.encoders, self.decoders = nn.ModuleDict(dict(encoders)), nn.ModuleDict(dict(decoders))
        self.inputs = {key: Read(encoder) for key, encoder in (inputs or {}).items()}
        self.outputs = {key: Made(decoder) for key, decoder in decoders.items()}
        self.requires_grad_(False).eval()

    @classmethod
    def build(cls, config: Config) -> Backbones:
        """Build the components of a configuration without an LLM."""
        encoders, decoders = build_encoders(config.encoders), build_decoders(config.outputs)
        media = {key: port.media for key, port in config.outputs.items()}
        media |= {key: port.media for key, port in config.inputs.items()}
        kinds = {key: registry.resolve("media", kind) for key, kind in media.items()}
        return cls(encoders, decoders, kinds=kinds, inputs={key: port.encoder for key, port in config.inputs.items()})

    def parts(self) -> dict[str, list[Parameter]]:
        """What may learn, by name; parts without parameters are left out."""
        found = {f"encoders.{name}": list(encoder.parameters()) for name, encoder in self.encoders.items()}
        found |= within(cast(Mapping[str, Encoder], self.encoders), {}, {})
        for key, made in self.outputs.items():
            found |= {f"outputs.{key}.decoder.{name}": part for name, part in made.decoder.parts().items()}
        return {name: part for name, part in found.items() if part}

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
        """Write every component in the form its `path` reads."""
        folder = Path(folder)
        for name, encoder in self.encoders.items():
            (folder / "encoders" / name).mkdir(parents=True, exist_ok=True)
            state = {k: x.detach().cpu().to(dtype or x.dtype).contiguous() for k, x in encoder.state_dict().items()}
            save_tensors(state, folder / "encoders" / name / "model.safetensors")
        for key, decoder in self.decoders.items():
            if isinstance(decoder, Saves):
                decoder.save(folder / "decoders" / key, dtype)
        return folder


Model = AnyX | Backbones
