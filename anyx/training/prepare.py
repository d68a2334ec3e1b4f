"""Before the first step: compute once what frozen components say. After the last: the scales of new latents.

Every distinct medium, in each of its augmented copies, goes once through its frozen encoder or autoencoder, and every
caption once through its decoder's frozen text encoder; the results are kept in the cache, and these components do not
run again while the stage trains, nor in a later run; text encoders leave memory. Where a feed augments without end,
or a component is learning, nothing of it is kept.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from anyx.data.cache import FeatureCache
from anyx.data.dialogues import DialogueReader
from anyx.data.features import Wanted, augmented
from anyx.data.pairs import PairReader
from anyx.data.sources import UNREADABLE, Feed, Record
from anyx.digests import digest
from anyx.interfaces import Media, TextTeacher
from anyx.model import AnyX
from anyx.processor import stack
from anyx.training.backbones import Backbones, Model
from anyx.training.conditions import LatentSpace, decoder_of
from anyx.training.readers import Reader, encode
from anyx.training.report import console
from anyx.training.trainee import Trainee

BATCH, SHARD, SAMPLES = 16, 512, 64
log = logging.getLogger("anyx")


@runtime_checkable
class Scaled(Protocol):
    """A decoder whose latents have a scale, which its autoencoder's training decides."""

    def fit_scaling(self, media: Sequence[Any]) -> float:
        """Set and return the scale that gives latents of such media unit deviation."""
        ...


@runtime_checkable
class Releases(Protocol):
    """A decoder whose text encoder can leave memory, and come back when it is asked."""

    def release_text(self) -> None:
        """Drop the text encoder from memory, where it can be loaded again as it is."""
        ...


def fit_scales(trainee: Trainee, feeds: Sequence[Feed]) -> None:
    """After a stage that trained autoencoders: set the scales of their latents, from the first media of the feeds."""
    model = trainee.model
    keys = [key for key in model.outputs if f"outputs.{key}.decoder.vae" in trainee.selection.names]
    if not keys or not isinstance(model, Backbones):
        return
    reader = PairReader({key: model.kinds[key] for key in keys})
    samples = []
    for feed in feeds:
        for record in itertools.islice(readable(feed), SAMPLES):
            with contextlib.suppress(*UNREADABLE):
                samples.append(reader.read(record, feed, 0))
    for key in keys:
        decoder, media = decoder_of(model, key), [sample.media[key] for sample in samples if key in sample.media]
        if media and isinstance(decoder, Scaled):
            log.info("%s: scale of latents %.4f", key, decoder.fit_scaling(media))


def fill(model: Model, reader: Reader, feeds: Sequence[Feed], cache: FeatureCache, workers: int = 0) -> None:
    """Compute what the stage will look up and the cache does not have."""
    captions: dict[str, dict[str, str]] = {key: {} for key in reader.teachers}  # key -> digest -> caption
    todo: dict[str, tuple[Feed, Wanted]] = {}
    for feed in feeds:
        for record in readable(feed):
            try:
                said = [(key, digest(reader.teachers[key], text), text) for key, text in reader.captions_of(record)]
                found = list(reader.wanted(record, feed))
            except UNREADABLE:
                continue  # the loader will count it
            for key, name, text in said:
                captions[key][name] = text
            todo |= {item.digest: (feed, item) for item in found if item.digest not in cache}
    for key, texts in captions.items():
        names = cache.missing(texts)
        groups = [names[i : i + BATCH] for i in range(0, len(names), BATCH)]
        for some in shown(groups, f"captions of {key}", len(groups)):
            teacher = decoder_of(model, key)
            assert isinstance(teacher, TextTeacher)
            cache.put(dict(zip(some, encode(teacher, [texts[name] for name in some]), strict=True)))
        if isinstance(decoder := model.outputs[key].decoder, Releases):
            decoder.release_text()
    encoders = reader.encoders if isinstance(reader, DialogueReader) else {}
    for key in dict.fromkeys(item.key for _, item in todo.values()):
        for makers, side in ((encoders, "in"), (reader.latents, "out")):
            jobs = [job for job in todo.values() if job[1].key == key and job[1].maker == makers.get(key)]
            if jobs:
                kinds = reader.processor.kinds if isinstance(reader, DialogueReader) else reader.kinds
                compute(model, key, kinds[key], jobs, cache, encoded if side == "in" else latents_of, workers)


Compute = Callable[[Model, str, Sequence[Media]], list[dict[str, Tensor]]]


def compute(
    model: Model,
    key: str,
    kind: type[Any],
    jobs: Sequence[tuple[Feed, Wanted]],
    cache: FeatureCache,
    run: Compute,
    workers: int,
) -> None:
    """Run media of one key through a frozen component, shard by shard."""
    reading = DataLoader(
        Reading(kind, jobs), batch_size=BATCH, num_workers=workers, collate_fn=list, generator=torch.Generator()
    )
    held: dict[str, dict[str, Tensor]] = {}
    for items in shown(reading, f"features of {key}", -(-len(jobs) // BATCH)):
        good = [(name, media) for name, media in items if media is not None]
        if good:
            held |= zip([name for name, _ in good], run(model, key, [media for _, media in good]), strict=True)
        if len(held) >= SHARD:
            cache.put(held)
            held = {}
    cache.put(held)


@dataclass
class Reading(Dataset[tuple[str, Media | None]]):
    """Reads and augments media in workers; None for what cannot be read."""

    kind: type[Any]
    jobs: Sequence[tuple[Feed, Wanted]]

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, index: int) -> tuple[str, Media | None]:
        """The digest and the media of one job."""
        feed, item = self.jobs[index]
        try:
            media = self.kind.read(item.source)
            return item.digest, augmented(feed, item.key, media, item.variant) if feed.augment else media
        except UNREADABLE:
            return item.digest, None


def encoded(model: Model, key: str, media: Sequence[Media]) -> list[dict[str, Tensor]]:
    """The encoder's tokens, one set an item, without padding, and their grid where they have one."""
    assert isinstance(model, AnyX)
    transform = model.processor.transforms[key]
    tokens = model.encode(key, on(model, stack([transform(item) for item in media])))
    grids = [{"layout": torch.tensor(grid)} for grid in tokens.layout or ()] or [{}] * len(media)
    return [
        {"values": values[mask].cpu().clone(), "mask": mask[mask].cpu().clone(), **grid}
        for values, mask, grid in zip(tokens.values, tokens.mask, grids, strict=True)
    ]


@torch.no_grad()
def latents_of(model: Model, key: str, media: Sequence[Media]) -> list[dict[str, Tensor]]:
    """The autoencoder's latents, one an item."""
    decoder = decoder_of(model, key)
    assert isinstance(decoder, LatentSpace)
    return [{"latents": x.cpu()} for x in decoder.latents(media)]


def on(model: Model, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors where the model is."""
    device = next(model.parameters()).device
    return {name: x.to(device) for name, x in tensors.items()}


def readable(feed: Feed) -> Iterator[Record]:
    """The records of a feed that can be parsed."""
    for index in range(len(feed.source)):
        try:
            yield feed.source[index]
        except UNREADABLE:
            continue


def shown(items: Iterable[Any], title: str, total: int) -> Iterable[Any]:
    """The items, with a progress bar if there are any and someone watches."""
    if not total:
        return ()
    log.info("%s: %d batches to compute", title, total)
    return track(items, title, total, console=console(), disable=not console().is_terminal, transient=True)
