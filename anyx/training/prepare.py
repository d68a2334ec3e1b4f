"""Before the first step: compute once what frozen components say. After the last: the scales of new latents.

Every distinct medium, in each of its augmented copies, goes once through its frozen encoder or autoencoder, and every
caption once through its decoder's frozen text encoder; the results are kept in the cache, and these components do not
run again while the stage trains, nor in a later run, where they are not even read into memory; text encoders leave it.
Where a feed augments without end, or a component is learning, nothing of it is kept.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from anyx.data.cache import FeatureCache
from anyx.data.dialogues import DialogueReader
from anyx.data.digests import digest
from anyx.data.filling import Group, Groups, Medium, Reading, Shelf
from anyx.data.pairs import PairReader
from anyx.data.sources import UNREADABLE, Feed, Record
from anyx.frozen import Numbers
from anyx.interfaces import Media, TextTeacher
from anyx.model import AnyX
from anyx.processor import stack
from anyx.schema import Stage
from anyx.training.backbones import Backbones, Model
from anyx.training.conditions import LatentSpace, decoder_of
from anyx.training.readers import Reader, encode
from anyx.training.report import console
from anyx.training.stage import autocast_dtype, numbers_of
from anyx.training.trainee import Trainee

SAMPLES = 64
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


def fill(
    model: Model,
    reader: Reader,
    feeds: Sequence[Feed],
    cache: FeatureCache,
    workers: int = 0,
    *,
    stage: Stage | None = None,
    device: torch.device | None = None,
    share: tuple[int, int] = (0, 1),
) -> None:
    """Compute what the stage will look up and the cache does not have.

    What is computed together depends on the data alone, never on what the cache has already: a run that was killed
    here gives the same numbers as one that was not. Encoders run in the stage's precision (None: float32). `share`:
    (rank, world) computes every world-th group; `cache.refresh()` brings what others computed. `device`: default, the
    model's.
    """
    cache.refresh()
    device = device or next(model.parameters()).device
    captions: dict[str, Groups[str]] = {key: Groups(cache) for key in reader.teachers}
    media: dict[tuple[str, str], Groups[Medium]] = {}  # by key and maker
    for feed in feeds:
        for record in readable(feed):
            try:
                said = [(key, digest(reader.teachers[key], text), text) for key, text in reader.captions_of(record)]
                found = list(reader.wanted(record, feed))
            except UNREADABLE:
                continue  # the loader will count it
            for key, name, text in said:
                captions[key].add(name, text)
            for item in found:
                if (kept := (item.key, item.maker)) not in media:
                    media[kept] = Groups(cache)
                media[kept].add(item.digest, (feed, item))
    numbers = Numbers() if stage is None else numbers_of(stage)
    for key, texts in captions.items():
        teach(model, key, texts.wanted(share), Shelf(cache, reader.teachers[key], "captions", numbers), device)
    encoders = reader.encoders if isinstance(reader, DialogueReader) else {}
    kinds = reader.processor.kinds if isinstance(reader, DialogueReader) else reader.kinds
    precision = None if stage is None else autocast_dtype(stage, device)
    for (key, maker), groups in media.items():
        if maker == encoders.get(key):
            run, kind = partial(encoded, model, key, device, precision), "features"
        else:
            run, kind = partial(latents_of, model, key), "latents"
        shelf = Shelf(cache, maker, kind, numbers)
        compute(run, key, kinds[key], groups.wanted(share), shelf, workers)
    cache.refresh()


def teach(model: Model, key: str, groups: Sequence[Group[str]], shelf: Shelf, device: torch.device) -> None:
    """Encode captions as the key's decoder wants them; of one that waits, only the text encoder comes into memory."""
    teacher = model.outputs[key].known
    if groups and isinstance(teacher, TextTeacher):
        teacher.text_parts()[0].to(device)
    for group in shown(groups, f"captions of {key}", len(groups)):
        assert isinstance(teacher, TextTeacher)
        said = encode(teacher, list(group.jobs.values()))
        shelf.add({name: value for name, value in zip(group.jobs, said, strict=True) if name in group.missing})
    shelf.write()
    if isinstance(teacher, Releases):
        teacher.release_text()


def compute(
    run: Callable[[Sequence[Media]], list[dict[str, Tensor]]],
    key: str,
    kind: type[Any],
    groups: Sequence[Group[Medium]],
    shelf: Shelf,
    workers: int,
) -> None:
    """Run media of one key through a frozen component, group by group."""
    reading = DataLoader(
        Reading(kind, groups), batch_size=None, num_workers=workers, collate_fn=list, generator=torch.Generator()
    )
    for items, group in zip(shown(reading, f"{shelf.kind} of {key}", len(groups)), groups, strict=True):
        if items:
            values = zip([name for name, _ in items], run([media for _, media in items]), strict=True)
            shelf.add({name: value for name, value in values if name in group.missing})
    shelf.write()


@torch.no_grad()
def encoded(
    model: Model, key: str, device: torch.device, precision: torch.dtype | None, media: Sequence[Media]
) -> list[dict[str, Tensor]]:
    """The encoder's tokens, one set an item, without padding, and their grid where they have one."""
    assert isinstance(model, AnyX)
    transform = model.processor.transforms[key]
    tensors = stack([transform(item) for item in media])
    with torch.autocast(device.type, dtype=precision) if precision else contextlib.nullcontext():
        tokens = model.encode(key, {name: x.to(device) for name, x in tensors.items()})
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


def readable(feed: Feed) -> Iterator[Record]:
    """The records of a feed that can be parsed."""
    for index in range(len(feed.source)):
        try:
            yield feed.source[index]
        except UNREADABLE:
            continue


def shown(items: Iterable[Any], title: str, total: int) -> Iterable[Any]:
    """The items, with a progress bar in a terminal, else with a line now and then."""
    if not total:
        return ()
    log.info("%s: %d batches to compute", title, total)
    if console().is_terminal:
        return track(items, title, total, console=console(), transient=True)
    return counted(items, title, total)


def counted(items: Iterable[Any], title: str, total: int, every: float = 15.0) -> Iterator[Any]:
    """The items; a log line each `every` seconds says how many are done, and how long the rest takes at that pace."""
    began = last = time.monotonic()
    for done, item in enumerate(items):
        if done and (now := time.monotonic()) - last >= every:
            last, left = now, (now - began) / done * (total - done)
            log.info("%s: %d of %d, %.0f s left", title, done, total, left)
        yield item
