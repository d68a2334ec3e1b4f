"""How fast tar shards are read map-style, against one pass of Python's `tarfile`, and how that grows with the data.

Every sample is pictures and a caption of random bytes, read and not decoded: what is compared is the reading alone.
Files are new, so both sides find them in the operating system's memory, where overhead weighs most. A third side walks
the shards as a run does, shuffled, sixteen mixed at a time.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ratios import compared

from anyx.data.mixture import Mixture
from anyx.data.webdataset import WebDatasetSource

SIZE, SHARD = 48_000, 250  # bytes of a picture; samples of a shard


def write(folder: Path, samples: int, media: int = 1, size: int = SIZE) -> Path:
    """Shards of `samples` samples of `media` pictures and a caption each."""
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True)
    noise = generator.bytes(size + 4096)
    for shard in range(-(-samples // SHARD)):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for index in range(shard * SHARD, min(samples, (shard + 1) * SHARD)):
                files = {f"{place}.jpg": noise[index % 4096 :][:size] for place in range(media)}
                record = {"media": {"image": list(files)}, "caption": f"picture {index}"}
                for name, data in {"json": json.dumps(record).encode(), **files}.items():
                    info = tarfile.TarInfo(f"{index:09d}.{name}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return folder


def raw(folder: Path) -> int:
    """Every file of every shard, one after the other; how many bytes of media."""
    total = 0
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                data = file.read()
                total += len(data) if member.name.endswith("jpg") else 0
                _ = json.loads(data) if member.name.endswith("json") else None
    return total


def ours(folder: Path, *, shuffled: bool = False) -> int:
    """The same through the source, in its order or in a run's."""
    source = WebDatasetSource(str(folder), index=folder / "index")
    mixture = Mixture([source], [1], seed=0)
    total = 0
    for place in range(len(source)):
        record = source[mixture.draw().record if shuffled else place]
        total += sum(len(member.read()) for member in record["media"]["image"])
    return total


def seconds(function: Callable[[], int]) -> tuple[float, int]:
    """How long a call takes, and what it gives."""
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def pairs(folder: Path, count: int, *, shuffled: bool) -> dict[str, Any]:
    """The rate of ours over the raw one, of pairs that take turns."""
    first, second = [], []
    for _ in range(count):
        one, a = seconds(lambda: raw(folder))
        two, b = seconds(lambda: ours(folder, shuffled=shuffled))
        assert a == b, "both sides read the same bytes"
        first.append(one)
        second.append(two)
    return compared(first, second)  # seconds of raw / ours = rate of ours / raw


def growth(folder: Path, quick: bool) -> dict[str, list[list[float]]]:
    """[number, seconds]: of samples and of media a sample that double, and of an index of ten times as many."""
    top = 2 if quick else 4
    found: dict[str, list[list[float]]] = {"samples": [], "media a sample": [], "samples indexed": []}
    for power in range(top):
        samples, media = 500 << power, 1 << power
        made = write(folder / f"samples{samples}", samples, size=4096)
        ours(made)
        found["samples"].append([samples, min(seconds(lambda made=made: ours(made))[0] for _ in range(3))])
        made = write(folder / f"media{media}", 500, media, size=4096)
        ours(made)
        found["media a sample"].append([media, min(seconds(lambda made=made: ours(made))[0] for _ in range(3))])
        made = write(folder / f"index{samples}", 10 * samples, size=64)
        found["samples indexed"].append(
            [10 * samples, seconds(lambda made=made: len(WebDatasetSource(str(made), index=made / "new")))[0]]
        )
    return found


def slope(series: list[list[float]]) -> float:
    """The exponent of growth: 1 where twice the work takes twice the time, less where a fixed cost weighs."""
    counts, times = np.log(np.array(series)).T
    return float(np.polyfit(counts, times, 1)[0])


def figures(quick: bool) -> list[dict[str, Any]]:
    """What the loader promises, with what it does."""
    count, found = (3 if quick else 11), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = write(Path(temporary) / "shards", 500 if quick else 5000)
        ours(folder)  # builds the index
        for name, shuffled in (("in order", False), ("shuffled", True)):
            told = pairs(folder, count, shuffled=shuffled)
            found.append(
                {
                    "goal": f"shards {name}: samples/s over raw sequential reading",
                    "bar": ">= 0.90",
                    "value": told["ratio"],
                    "quartiles": told["quartiles"],
                    "pairs": told["pairs"],
                    "met": told["ratio"] >= 0.9,
                    "note": "{:.2f} s raw, {:.2f} s ours".format(*told["seconds"]),
                }
            )
        for name, series in growth(Path(temporary), quick).items():
            exponent = slope(series)
            found.append(
                {
                    "goal": f"cost over {name}: exponent of growth",
                    "bar": "<= 1.1",
                    "value": round(exponent, 3),
                    "quartiles": None,
                    "pairs": len(series),
                    "met": exponent <= 1.1,
                    "note": ", ".join(f"{number:g}: {1e3 * time:.0f} ms" for number, time in series),
                    "series": series,
                }
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few pairs of a small set")
    print(json.dumps(figures(parser.parse_args().quick), indent=1))


if __name__ == "__main__":
    main()
