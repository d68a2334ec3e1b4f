"""Encoders, decoders and output projectors that are not in memory until something needs what they compute.

One that waits is known by its `shadow`, built on the meta device: widths, settings, transform, names of parts. Its
weights are read, or drawn, when it is asked for (`encoders[name]`, `port.decoder`, `port.projector`). What weights were
read from, its `origin`, says what they are without reading them into memory, until a stage trains them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from anyx.frozen import Numbers, Origin
from anyx.interfaces import Decoder, Encoder, OutputProjector, Tokens

Part = TypeVar("Part", Encoder, Decoder, OutputProjector)


@dataclass(frozen=True)
class Waiting(Generic[Part]):
    """A component that `make` brings into memory; without an `origin` its weights are drawn by its own seed."""

    shadow: Part
    make: Callable[[], Part]
    origin: Origin | None = None

    def read(self, device: torch.device) -> Part:
        """The component, frozen, on a device; in whatever mode the caller is."""
        with torch.inference_mode(False):
            made = self.make().requires_grad_(False).eval()
        return made if device.type == "meta" else made.to(device)


class Encoders(nn.ModuleDict):
    """Encoders by name; iterating gives those in memory, asking for one brings it there."""

    anchor: Tensor

    def __init__(self, given: Mapping[str, Encoder | Waiting[Encoder]]) -> None:
        super().__init__({name: part for name, part in given.items() if isinstance(part, Encoder)})
        self.register_buffer("anchor", torch.empty(0), persistent=False)  # where the model is
        self.waiting = {name: part for name, part in given.items() if isinstance(part, Waiting)}
        self.origins = {name: part.origin for name, part in self.waiting.items()}
        self.numbers = Numbers()

    def __contains__(self, name: object) -> bool:
        return name in self.waiting or name in self._modules

    def __getitem__(self, name: str) -> Encoder:
        if name in self.waiting:
            waiting = self.waiting[name]
            made = waiting.read(self.anchor.device)
            for twin in [twin for twin, other in self.waiting.items() if other is waiting]:
                self[twin] = made
                del self.waiting[twin]
        found = self._modules[name]
        assert isinstance(found, Encoder)
        return found

    def known(self) -> dict[str, Encoder]:
        """All of them, those that wait by their shadows."""
        return {name: self[name] for name in self} | {name: part.shadow for name, part in self.waiting.items()}

    def forward(self, name: str, tensors: Mapping[str, Tensor]) -> Tokens:
        """Transformed media through an encoder, without gradients where it is frozen."""
        encoder = self[name]
        if any(parameter.requires_grad for parameter in encoder.parameters()):
            tokens: Tokens = encoder(tensors)
            return tokens
        with torch.no_grad(), self.numbers.around(encoder):
            tokens = encoder(tensors)
        return tokens._replace(values=self.numbers.rounded(tokens.values))


class Lender(nn.Module):
    """A module that has a projector and a decoder: each in memory or waiting; there may be no decoder."""

    anchor: Tensor

    def __init__(
        self, projector: OutputProjector | Waiting[OutputProjector], decoder: Decoder | Waiting[Decoder] | None
    ) -> None:
        super().__init__()
        self.register_buffer("anchor", torch.empty(0), persistent=False)  # where the model is
        given = {"decoder": decoder, "projector": projector}
        self.waiting: dict[str, Waiting[Any]] = {n: part for n, part in given.items() if isinstance(part, Waiting)}
        self.origin = decoder.origin if isinstance(decoder, Waiting) else None
        for name, part in given.items():  # properties stand in the way of plain assignments
            self._modules[name] = None if isinstance(part, Waiting) else part

    def lend(self, name: str) -> nn.Module | None:
        """A part, brought into memory if it waits."""
        if name in self.waiting and self._modules[name] is None:
            self._modules[name] = self.waiting.pop(name).read(self.anchor.device)
        return self._modules[name]

    def shape(self, name: str) -> nn.Module | None:
        """A part, its shadow if it waits."""
        waits = name in self.waiting and self._modules[name] is None
        return self.waiting[name].shadow if waits else self._modules[name]

    @property
    def projector(self) -> OutputProjector:
        """The projector, drawn now if it waits; a module assigned here takes its place."""
        found = self.lend("projector")
        assert isinstance(found, OutputProjector)
        return found

    @projector.setter
    def projector(self, projector: OutputProjector) -> None:
        """For type checkers: torch keeps modules itself."""
        self._modules["projector"] = projector

    @property
    def decoder(self) -> Decoder | None:
        """The decoder, brought into memory if it waits; a module assigned here takes its place."""
        found = self.lend("decoder")
        assert found is None or isinstance(found, Decoder)
        return found

    @decoder.setter
    def decoder(self, decoder: Decoder | None) -> None:
        """For type checkers: torch keeps modules itself."""
        self._modules["decoder"] = decoder

    @property
    def known(self) -> Decoder | None:
        """The decoder, its shadow if it waits."""
        found = self.shape("decoder")
        assert found is None or isinstance(found, Decoder)
        return found


def wake(encoders: Encoders, outputs: Mapping[str, Lender], names: Iterable[str]) -> None:
    """Bring into memory what parts or weights of these names lie in: it is to change, and be no more what files say."""
    names = list(names)
    for name in [*encoders.origins]:
        if touched(f"encoders.{name}", names):
            encoders[name]
            origin = encoders.origins[name]
            encoders.origins = {n: other for n, other in encoders.origins.items() if other is not origin}  # twins too
    for key, port in outputs.items():
        if touched(f"outputs.{key}.projector", names):
            port.lend("projector")
        if port.origin is not None and touched(f"outputs.{key}.decoder", names):
            port.lend("decoder")
            port.origin = None


def touched(path: str, names: Iterable[str]) -> bool:
    """Whether one of the names is a path or lies below it."""
    return any(name == path or name.startswith(f"{path}.") for name in names)
