"""What goes from a cache is what was to go; what stays is as it was."""

import os
import time
from pathlib import Path

import pytest
import torch

from anyx.data import upkeep
from anyx.data.cache import FeatureCache
from anyx.data.shards import Note, contents

DAY = 86400.0


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """Ten shards of ten values each, a day apart, by two makers; the last is of today."""
    made = FeatureCache(tmp_path)
    for place in range(10):
        values = {f"{place}{i}": {"x": torch.full((64,), float(10 * place + i))} for i in range(10)}
        made.replace([], values, Note("ab"[place % 2], "features", time.time() - (9 - place) * DAY))
    return made


def check(cache: FeatureCache, names: set[str]) -> None:
    for found in (cache, FeatureCache(cache.folder)):
        assert set(found) == names
        assert all(found[name]["x"].eq(float(name)).all() for name in names)


EVERY = {f"{place}{i}" for place in range(10) for i in range(10)}


def test_what_is_old_goes_but_what_is_to_be_kept(cache: FeatureCache) -> None:
    for dry_run in (True, False):
        swept = upkeep.sweep(cache, keep={"03", "77"}, older=4.5 * DAY, dry_run=dry_run)
        assert swept.entries == 49
        assert 49 * 256 < swept.bytes < 49 * 512
        if dry_run:
            check(cache, EVERY)
    check(cache, {"03"} | {name for name in EVERY if name[0] in "56789"})


def test_all_else_goes(cache: FeatureCache) -> None:
    assert upkeep.sweep(cache, keep={"03", "77", "none"}).entries == 98
    check(cache, {"03", "77"})


def test_the_oldest_go_until_it_fits(cache: FeatureCache) -> None:
    total = sum(path.stat().st_size for path in upkeep.whole(cache))
    most = round(0.55 * total)  # shards are of one size but for a few bytes
    upkeep.sweep(cache, size=most)
    assert sum(path.stat().st_size for path in upkeep.whole(cache)) <= most
    check(cache, {name for name in EVERY if name[0] in "56789"})


def test_small_shards_are_joined_and_stay_as_old(cache: FeatureCache) -> None:
    upkeep.sweep(cache, older=1000 * DAY)  # removes nothing
    check(cache, EVERY)
    notes = [contents(path).note for path in upkeep.whole(cache)]
    assert sorted(note.maker for note in notes) == ["a", "b"]
    assert sorted(round((time.time() - note.created) / DAY) for note in notes) == [0, 1]
    (first, second) = upkeep.holdings(cache)
    assert {first.maker, second.maker} == {"a", "b"}
    assert first.entries == second.entries == 50


def test_damage_is_found_and_removed(cache: FeatureCache) -> None:
    assert upkeep.verify(cache) == {}
    path = next(path for path in upkeep.whole(cache) if "35" in contents(path).places)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    part = cache.folder / ".x.safetensors.123"
    part.write_bytes(b"half")
    os.utime(part, (0, 0))
    assert list(upkeep.verify(cache)) == [path.name]
    assert path.exists()
    upkeep.verify(cache, fix=True)
    assert not part.exists()
    check(cache, {name for name in EVERY if name[0] != "3"})
