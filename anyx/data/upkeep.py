"""Looking after a cache: what is in it, whether it is whole, and what may go."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from anyx.data import shards
from anyx.data.cache import FeatureCache
from anyx.data.filling import BYTES, SHARD
from anyx.data.index import Shard
from anyx.data.shards import SUFFIX, DamagedError, Note, Value

STALE = 3600.0  # seconds after which a file that is being written was given up
Watch = Callable[[Collection[str]], Iterable[str]]  # shows how far one is


class Holding(NamedTuple):
    """What one component's values of a kind take."""

    kind: str
    maker: str
    entries: int
    shards: int
    bytes: int
    newest: float


class Swept(NamedTuple):
    """What went, or would go."""

    entries: int
    bytes: int


def holdings(cache: FeatureCache) -> list[Holding]:
    """What the cache holds, by kind and component, the largest first."""
    found: dict[tuple[str, str], list[Shard]] = {}
    for shard in cache.ask(lambda index: index.shards()):
        found.setdefault((shard.kind, shard.maker), []).append(shard)
    made = [
        Holding(
            kind,
            maker,
            sum(shard.entries for shard in some),
            len(some),
            sum(shard.stamp.bytes for shard in some),
            max(shard.created for shard in some),
        )
        for (kind, maker), some in found.items()
    ]
    return sorted(made, key=lambda one: -one.bytes)


def verify(cache: FeatureCache, *, fix: bool = False, watch: Watch = iter) -> dict[str, str]:
    """Read every shard; those that are not what was written, with the reason. `fix` removes them and indexes anew."""
    bad: dict[str, str] = {}
    for name in watch(sorted(path.name for path in whole(cache))):
        try:
            shards.check(cache.folder / name)
        except DamagedError as error:
            bad[name] = str(error)
        except FileNotFoundError:
            continue  # another process removed it
    if fix:
        cache.drop(bad)
        for part in given_up(cache):
            part.unlink(missing_ok=True)
        cache.rebuild()
    return bad


def sweep(
    cache: FeatureCache,
    *,
    keep: Collection[str] | None = None,
    older: float | None = None,
    size: int | None = None,
    dry_run: bool = False,
    watch: Watch = iter,
) -> Swept:
    """Remove values, and write what is left of their shards anew, small shards together; what went.

    Those in `keep` stay whatever else is said. Without `older` (seconds) and `size` (bytes) all others go; with `older`
    those written before that; with `size` the oldest shards, until the rest is no larger.
    """
    every = cache.ask(lambda index: index.shards())  # the oldest first
    excess = sum(shard.stamp.bytes for shard in every) - (size or 0)
    entries, freed = 0, 0
    for name, shard in zip(watch([shard.name for shard in every]), every, strict=True):
        old = older is not None and shard.created < time.time() - older
        over = size is not None and freed < excess
        if not (old or over or (keep is not None and older is None and size is None)):
            continue
        places = shards.contents(cache.folder / name).places
        stays = {digest for digest in places if keep is not None and digest in keep}
        if len(stays) == len(places):
            continue
        entries += len(places) - len(stays)
        freed += shard.stamp.bytes - round(shard.stamp.bytes * len(stays) / len(places))
        if not dry_run:
            values = {digest: value for digest, value in held(cache, name) if digest in stays}
            cache.replace([name], values, Note(shard.maker, shard.kind, shard.created))
    if not dry_run:
        tidy(cache)
    return Swept(entries, freed)


def tidy(cache: FeatureCache) -> None:
    """Join small shards, and remove what was never finished."""
    small: dict[tuple[str, str], list[str]] = {}
    for shard in cache.ask(lambda index: index.shards()):
        if shard.entries < SHARD // 4 and shard.stamp.bytes < BYTES // 4:
            small.setdefault((shard.kind, shard.maker), []).append(shard.name)
    for names in small.values():
        join(cache, names)
    for part in given_up(cache):
        part.unlink(missing_ok=True)


def join(cache: FeatureCache, names: list[str]) -> None:
    """Write small shards of one component as few."""
    values: dict[str, Value] = {}
    taken: list[str] = []
    created = 0.0
    for place, name in enumerate(names):
        created = max(created, shards.contents(cache.folder / name).note.created)
        values |= dict(held(cache, name))
        taken.append(name)
        size = sum(x.nbytes for value in values.values() for x in value.values())
        if len(values) >= SHARD or size >= BYTES or place + 1 == len(names):
            if len(taken) > 1:
                note = shards.contents(cache.folder / name).note
                cache.replace(taken, values, note._replace(created=created))
            values, taken, created = {}, [], 0.0


def held(cache: FeatureCache, name: str) -> Iterator[tuple[str, Value]]:
    """The values of one shard."""
    with (cache.folder / name).open("rb") as file:
        places: Mapping[str, tuple[shards.Layout, tuple[int, ...]]] = shards.contents(cache.folder / name).places
        for digest, (layout, begins) in places.items():
            yield digest, shards.value(file.fileno(), layout, begins)


def whole(cache: FeatureCache) -> list[Path]:
    """The shards in the folder."""
    return [path for path in cache.folder.glob(f"*{SUFFIX}") if not path.name.startswith(".")]


def given_up(cache: FeatureCache) -> list[Path]:
    """Files that were being written by processes that are no more."""
    old = time.time() - STALE
    return [path for path in cache.folder.glob(f".*{SUFFIX}.*") if path.stat().st_mtime < old]
