"""One component at a time: from its node in a YAML, now, for its shapes only, or later when it is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError

from anyx import published
from anyx.config import Config
from anyx.frozen import Origin
from anyx.interfaces import Decoder, Encoder, OutputProjector
from anyx.packaged import locate
from anyx.schema import Node
from anyx.waiting import Waiting

Part = TypeVar("Part", Encoder, Decoder, OutputProjector)


def make(path: str, node: Node, *wired: Any) -> Any:
    """One component from its node; `wired` are the widths that the YAML does not say."""
    given = published.keywords(node.kwargs) if on_meta() else node.kwargs
    if on_meta():  # a component of components, such as a film encoder
        given = {
            key: published.keywords(value) if isinstance(value, Mapping) and "type" in value else value
            for key, value in given.items()
        }
    keywords = {
        key: locate(value) if key == "path" and isinstance(value, str) else value for key, value in given.items()
    }
    with named(path), seeded(path):
        return node.cls(*wired, **keywords)


class Late(NamedTuple):
    """Components that wait until they are needed, by name and by output."""

    encoders: dict[str, Encoder | Waiting[Encoder]]
    decoders: dict[str, Decoder | Waiting[Decoder]]

    @classmethod
    def of(cls, config: Config) -> Late:
        """Those of a configuration that can wait; equal encoder nodes are one."""
        late, made = cls({}, {}), list[tuple[Node, Waiting[Encoder]]]()
        for name, node in config.encoders.items():
            twin = next((waiting for other, waiting in made if other == node), None)
            waiting = twin or parked(f"encoders.{name}", node)
            if waiting is not None:
                late.encoders[name] = waiting
                made.append((node, waiting))
        for key, port in config.outputs.items():
            if (decoder := parked(f"outputs.{key}.decoder", port.decoder)) is not None:
                late.decoders[key] = decoder
        return late


def parked(path: str, node: Node) -> Waiting[Any] | None:
    """A component that waits; None for one that may have weights that its files do not."""
    paths = origins(node)
    if paths is None:
        return None
    here = replace(node, kwargs={**node.kwargs, "path": str(paths[0])})
    with torch.device("meta"):
        shadow = make(path, here)
    if isinstance(shadow, Encoder) and shadow.parts:
        return None  # what a stage trains by itself is often not in the files
    settings = f"{node.type} {sorted((name, value) for name, value in node.kwargs.items() if name != 'path')}"
    return Waiting(shadow, partial(made_later, torch.initial_seed(), path, node), Origin(paths, settings))


def drawn_later(path: str, node: Node, *wired: Any) -> Waiting[Any]:
    """A component that is built when it is asked for, as it would be now."""
    with torch.device("meta"):
        shadow = make(path, node, *wired)
    return Waiting(shadow, partial(made_later, torch.initial_seed(), path, node, *wired))


def made_later(seed: int, path: str, node: Node, *wired: Any) -> Any:
    """The component as it would have been built when this was torch's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make(path, node, *wired)


def origins(node: Node) -> tuple[Path, ...] | None:
    """The files and folders that all weights of one of our own components are read from; None where that is not sure.

    A mapping among the keywords, other than a scheduler's, may be the sizes of something random.
    """
    given = {name: value for name, value in node.kwargs.items() if name != "scheduler"}
    path = given.pop("path", None)
    if not (isinstance(path, str) and node.cls.__module__.startswith("anyx.")):
        return None
    if any(isinstance(value, Mapping) for value in given.values()):
        return None
    others = [value for value in given.values() if isinstance(value, str) and ("/" in value or Path(value).exists())]
    found = [on_disk(name) for name in (path, *others)]
    return tuple(place for place in found if place is not None) if None not in found else None


def on_disk(path: str) -> Path | None:
    """Where a path's files are: here, or in the Hub's cache; None where they are not."""
    place = Path(locate(path))
    if place.exists():
        return place
    try:
        return Path(snapshot_download(path, local_files_only=True))
    except (OSError, ValueError):  # not there, or no id of the Hub's
        return None


def known(part: Part | Waiting[Part]) -> Part:
    """A component, or the shadow of one that waits."""
    return part.shadow if isinstance(part, Waiting) else part


@contextmanager
def seeded(path: str) -> Iterator[None]:
    """Draw what a component is made of by a seed of its own, and leave no trace in what others draw."""
    seed = hashlib.blake2b(f"{torch.initial_seed()}/{path}".encode(), digest_size=7).digest()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int.from_bytes(seed))
        yield


def on_meta() -> bool:
    """Whether components are being built for their shapes only."""
    return torch.get_default_device().type == "meta"


@contextmanager
def named(path: str) -> Iterator[None]:
    """Say which component of the YAML an error is about: keywords, files or weights that it cannot take."""
    try:
        yield
    except (ValueError, TypeError, OSError, SafetensorError) as error:
        raise ValueError(f"{path}: {error}") from error
