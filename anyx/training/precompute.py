"""Before any run: what stages will want of a cache, and computing it.

The LLM has shapes only, and encoders and decoders wait until something of theirs is missing. Of parts that an earlier
stage trains nothing can be known before that stage has run: they are left to the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from anyx.build import build
from anyx.config import Config
from anyx.data.cache import FeatureCache
from anyx.data.digests import digest
from anyx.data.sources import UNREADABLE, Feed
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training import checkpoint
from anyx.training.backbones import Backbones, Model
from anyx.training.plan import choose, feeds_of, settings_of
from anyx.training.prepare import fill, readable
from anyx.training.readers import Reader, make_reader
from anyx.training.stage import select
from anyx.training.trainee import Trainee

log = logging.getLogger("anyx")


class Wish(NamedTuple):
    """A stage, and the reader that knows what of its feeds it wants."""

    stage: Stage
    model: Model
    reader: Reader
    feeds: Sequence[Feed]


def wishes(
    config: Config, cache: FeatureCache, device: torch.device, stages: Sequence[str] | None = None
) -> Iterator[Wish]:
    """What each stage wants, as far as that is known before any has run."""
    torch.manual_seed(config.seed)  # as a run does: what has no path draws the same weights
    model: Model = Backbones.build(config) if config.llm is None else build(config, lazy=True, body=False)
    changed: set[str] = set()
    wanted = {stage.name for stage in choose(config, stages)}
    for stage in config.stages.values():
        learning = select(model.parts(), stage.train).names
        if stage.init is not None:
            changed |= {part for part in model.parts() if part in parts_of(checkpoint.names_in(Path(stage.init)))}
        if stage.name in wanted:
            feeds, _ = feeds_of(stage, config)
            trainee = Trainee(model, stage, stage.length(sum(len(feed.source) for feed in feeds)))
            yield Wish(stage, model, make_reader(trainee, feeds, cache, settings_of(config), device, changed), feeds)
        changed |= set(learning)


def precompute(wish: Wish, cache: FeatureCache, device: torch.device, workers: int) -> None:
    """Compute what a stage wants and the cache does not have."""
    if isinstance(wish.model, AnyX):
        wish.model.encoders.to(device)  # the LLM has no numbers that could be anywhere
        for port in wish.model.outputs.values():
            port.to(device)
    else:
        wish.model.to(device)
    fill(wish.model, wish.reader, wish.feeds, cache, workers, stage=wish.stage, device=device)


def wanted(wish: Wish) -> Iterator[str]:
    """The digests of all that a stage will look up."""
    for feed in wish.feeds:
        for record in readable(feed):
            try:
                yield from [digest(wish.reader.teachers[key], text) for key, text in wish.reader.captions_of(record)]
                yield from [item.digest for item in wish.reader.wanted(record, feed)]
            except UNREADABLE:
                continue


def parts_of(names: Sequence[str]) -> set[str]:
    """The encoders and decoders that weights of these names lie in, by every name that part of them may have."""
    found: set[str] = set()
    for name in names:
        words = name.split(".")
        found |= {".".join(words[:end]) for end in range(2, len(words))}
    return found
