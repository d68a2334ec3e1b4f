"""How a cache grows: seconds to index, to open and to look up, from 10^2 to 10^6 entries; and what a cache can save.

    .venv/bin/python experiments/benchmarks/cache_scale.py            # all sizes, about two minutes
    .venv/bin/python experiments/benchmarks/cache_scale.py --quick    # to 10^4

Shards are synthetic: headers and entries are real, of 64 numbers a value, so that 10^6 fit on a small disk. Indexing is
from shards alone, as after the index was lost; opening is by a process that has not opened it before; a look-up brings
a value of a random entry into memory.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from anyx.data import shards
from anyx.data.cache import FeatureCache
from anyx.data.digests import digest
from anyx.data.index import NAME, discard
from anyx.data.shards import Note

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
QUICK = (100, 1_000, 10_000)
SHARD, NUMBERS, LOOKUPS, OPENS = 512, 64, 2_000, 9


def series(sizes: tuple[int, ...] = SIZES) -> list[dict[str, float]]:
    """For each number of entries: seconds to index and to open, microseconds of a look-up (median), bytes of the index.

    A folder is filled up from one size to the next.
    """
    found, names = [], list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            for start in range(len(names), size, SHARD):
                some = [digest(number) for number in range(start, min(size, start + SHARD))]
                shards.write(
                    Path(folder), {x: {"values": torch.zeros(NUMBERS)} for x in some}, Note("scale", "features")
                )
                names += some
            discard(Path(folder, NAME))
            began = time.perf_counter()
            cache = FeatureCache(folder)
            indexed = time.perf_counter() - began
            assert len(cache) == size
            cache.close()
            opened = statistics.median(seconds_to_open(folder) for _ in range(OPENS))
            found.append(
                {
                    "entries": size,
                    "index_seconds": round(indexed, 4),
                    "open_seconds": round(opened, 5),
                    "lookup_microseconds": round(lookup(FeatureCache(folder), names), 2),
                    "index_bytes": Path(folder, NAME).stat().st_size,
                }
            )
    return found


def seconds_to_open(folder: str) -> float:
    """Seconds to open a cache and find one value in it."""
    began = time.perf_counter()
    cache = FeatureCache(folder)
    assert digest(0) in cache
    return time.perf_counter() - began


def lookup(cache: FeatureCache, names: list[str]) -> float:
    """The median time of reading a value, microseconds."""
    chosen = random.Random(0).choices(names, k=LOOKUPS)
    times = []
    for name in chosen:
        began = time.perf_counter()
        cache[name]
        times.append(time.perf_counter() - began)
    return 1e6 * statistics.median(times)


def figures(quick: bool, points: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """The goals of the cache at size, as `make bench` prints them."""
    points = points or series(QUICK if quick else SIZES)
    last, before = points[-1], points[-2]
    growth = last["index_seconds"] / before["index_seconds"] / (last["entries"] / before["entries"])
    size = f"{last['entries']:,} entries"
    micros = last["lookup_microseconds"]
    return [
        figure(f"look-up in a cache of {size}, microseconds", 50.0, micros, LOOKUPS, "median of random entries"),
        figure(f"indexing {size}, time an entry over that of a tenth", 1.5, growth, 1, "linear is 1"),
        figure(f"opening {size}, seconds", 1.0, last["open_seconds"], OPENS, "a new connection, one value found"),
    ]


def figure(goal: str, bar: float, value: float, pairs: int, note: str) -> dict[str, Any]:
    """One goal's row."""
    said = {"goal": goal, "bar": f"<= {bar:g}", "value": round(value, 3), "quartiles": None, "pairs": pairs}
    return {**said, "met": value <= bar, "note": note}


def main() -> None:
    """Print the series and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="to 10^4 entries")
    parser.add_argument("--series", action="store_true", help="the points of a plot instead of the goals")
    given = parser.parse_args()
    points = series(QUICK if given.quick else SIZES) if given.series else figures(given.quick)
    print(json.dumps(points, indent=2))


if __name__ == "__main__":
    main()
