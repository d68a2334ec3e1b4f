"""How long samples are in positions of the LLM, media included: what batches are planned by.

A record's words, template and signal groups are counted as they will be read. A medium counts as many positions as the
most that its projector made of one of the first media of its key; by a projector that decides how many, as many as the
encoder gives. None of this changes while a stage learns, so that a resumed run plans the same batches.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch

from anyx.data.dialogues import DialogueReader
from anyx.data.mixture import Draw
from anyx.data.sources import UNREADABLE, Feed
from anyx.model import AnyX
from anyx.processor import MediaBatch
from anyx.training.backbones import Model
from anyx.training.prepare import readable
from anyx.training.readers import Reader

RECORDS, MEDIA = 16, 4  # of each feed: how many records are looked at, and how many media of a key


def lengths(feeds: Sequence[Feed], reader: Reader, model: Model) -> Callable[[Draw], int]:
    """How long the sample of a draw will be; 0 if it cannot be read or no LLM reads it."""
    if not isinstance(reader, DialogueReader) or not isinstance(model, AnyX):
        return lambda draw: 0
    heard, known = heard_of(feeds, reader, model), dict[tuple[int, int], int]()

    def length(draw: Draw) -> int:
        place = (draw.source, draw.record)
        if place not in known:
            try:
                known[place] = reader.length(feeds[draw.source].source[draw.record], heard)
            except UNREADABLE:
                known[place] = 0  # the loader will count it
        return known[place]

    return length


@torch.no_grad()
def heard_of(feeds: Sequence[Feed], reader: DialogueReader, model: AnyX) -> Mapping[str, int]:
    """How many positions a medium of each key takes."""
    found: dict[str, int] = {}
    modes = [(module, module.training) for module in model.modules()]
    model.eval()  # nothing is learnt by looking, not even the mean of a norm
    for feed in feeds:
        seen: Counter[str] = Counter()
        for record in itertools.islice(readable(feed), RECORDS):
            try:
                sample = reader.read(record, feed, 0)
            except UNREADABLE:
                continue
            wanted = [item for item in sample.sample.received if seen[item.key] < MEDIA]
            seen.update(item.key for item in wanted)
            batch = reader.processor.collate([sample.sample._replace(received=wanted)])
            for key, media in batch.to(model.device).inputs.items():
                found[key] = max(found.get(key, 1), positions(model, key, media))
    for module, mode in modes:
        module.training = mode
    return found


def positions(model: AnyX, key: str, media: MediaBatch) -> int:
    """The most positions that one of these media takes."""
    if not all(model.llm.adapters[name].spliced for name in model.into[key]):
        return 0
    if model.inputs[key].projector.counts:
        tokens = media.tokens if media.tokens is not None else model.encode(key, media.tensors)
    else:
        tokens = model.project(key, media)
    return int(tokens.mask.sum(1).max())
