"""Features computed once: their digests, the augmented copies they are of, and looking them up for a batch.

Letters: m media items of one key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from anyx.data.batches import Cached
from anyx.data.cache import FeatureCache
from anyx.data.digests import digest, media_digest
from anyx.data.sources import Feed
from anyx.interfaces import Media
from anyx.randomness import seeded


class Wanted(NamedTuple):
    """Media whose features a stage needs: under which digest, whose, of which key, from where, which copy."""

    digest: str
    maker: str
    key: str
    source: Any
    variant: int


def feature_digest(maker: str, source: Any, feed: Feed, variant: int, cache: FeatureCache | None = None) -> str:
    """Where the output of an encoder or autoencoder for an augmented copy is kept; the cache may know its file."""
    known = media_digest(source) if cache is None else cache.media_digest(source)
    return digest(maker, known, feed.identity, variant if feed.augment else 0)


def augmented(feed: Feed, key: str, media: Media, variant: int) -> Media:
    """The augmented copy number `variant` of media, the same wherever and whenever it is made.

    Even where an augmentation draws from generators that are not its own, which are put back afterwards.
    """
    assert feed.augment is not None
    seed = int(digest(key, media_digest(media), variant)[:15], 16)
    with seeded(seed):
        return feed.augment(key, media, torch.Generator().manual_seed(seed))


def lookup(cache: FeatureCache | None, digests: Sequence[str | None]) -> Cached | None:
    """The cached values of those that have a digest; None where none has."""
    rows = [row for row, name in enumerate(digests) if name is not None]
    if cache is None or not rows:
        return None
    try:
        values = [cache[name] for name in digests if name is not None]
    except KeyError as error:
        told = f"{cache.folder}: {error} was there when the run began and is gone (anyx cache gc, or a damaged file)"
        raise OSError(f"{told}; the same command with --resume computes it again") from error
    return Cached(torch.tensor(rows), {name: torch.stack([value[name] for value in values]) for name in values[0]})


def taught(
    cache: FeatureCache | None, teachers: Mapping[str, str], captions: Mapping[str, Sequence[str | None]]
) -> dict[str, Cached]:
    """The teachers' cached conditions of captions, of those that are not None: nothing said is a caption too."""
    found: dict[str, Cached] = {}
    for key in teachers.keys() & captions.keys():
        value = lookup(cache, [None if text is None else digest(teachers[key], text) for text in captions[key]])
        found |= {key: value} if value else {}
    return found
