"""Pairs of media and captions: which of several files is drawn."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from anyx.data.cache import FeatureCache
from anyx.data.loader import Loader
from anyx.data.mixture import Batches, Mixture
from anyx.data.pairs import PairReader, drawn
from anyx.data.sources import feed
from anyx.media import Image

LEVELS = (10, 80, 150, 220)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """One record of four pictures, told apart by their brightness, and one of a single picture."""
    for level in LEVELS:
        Image(torch.full((3, 4, 4), level, dtype=torch.uint8)).save(tmp_path / f"{level}.png")
    several = {"media": {"image": [f"{level}.png" for level in LEVELS]}, "caption": "several"}
    records = [{"media": {"image": "10.png"}, "caption": "one"}, several]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, records)))
    return tmp_path / "pairs.jsonl"


def test_every_file_of_a_record_is_drawn(pairs: Path) -> None:
    """200 draws of four files, about 25 a file of those that are of the record of several."""
    given = feed("pairs", {"path": str(pairs)})
    mixture = Mixture([given.source], [1.0], seed=0, variants=[given.variants])
    seen: Counter[int] = Counter()
    for count, (batch, _) in enumerate(Loader([given], PairReader({"image": Image}), Batches(mixture, 2))):
        shown = zip(batch.captions, batch.media["image"], strict=True)
        seen.update(int(media.pixels[0, 0, 0]) for caption, media in shown if caption == "several")
        if count == 99:
            break
    assert set(seen) == set(LEVELS)
    assert min(seen.values()) >= 10


def test_what_explicit_variants_draw_is_fixed(pairs: Path, tmp_path: Path) -> None:
    """As drawn when the emoji backbones were trained; with `variants`, each file drawn has a place in the cache."""
    assert [drawn(list(range(5)), "image", variant) for variant in range(6)] == [3, 1, 3, 0, 0, 1]
    given = feed("pairs", {"path": str(pairs), "variants": 6})
    reader = PairReader({"image": Image}, {}, FeatureCache(tmp_path / "cache"), latents={"image": "vae"})
    kept = [Path(item.source).stem for item in reader.wanted(given.source[1], given)]
    assert kept == ["220", "80", "220", "10", "10", "80"]
