"""Pairs of media and captions: which of several files is drawn."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from anyx.data.cache import FeatureCache
from anyx.data.digests import digest
from anyx.data.loader import Loader
from anyx.data.mixture import Batches, Mixture
from anyx.data.pairs import PairReader, drawn
from anyx.data.sources import Feed, feed
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


def test_a_record_without_words_keeps_its_place_among_conditions(tmp_path: Path) -> None:
    """What a frozen text encoder says of no words is asked for and kept, as a learning one would be asked."""
    records = [
        {"media": {"image": Image(torch.zeros(3, 4, 4, dtype=torch.uint8))}, "caption": c} for c in ("a", "", "b")
    ]
    cache = FeatureCache(tmp_path)
    reader = PairReader({"image": Image}, {}, cache, teachers={"image": "text encoder"})
    asked = [reader.captions_of(record) for record in records]
    assert asked == [[("image", "a")], [("image", "")], [("image", "b")]]
    cache.put({digest("text encoder", text): {"values.x": torch.tensor([ord(text or "0")])} for ((_, text),) in asked})
    given = Feed("pairs", records)
    batch = reader.collate([reader.read(record, given, 0) for record in records])
    assert batch.teachers["image"].rows.tolist() == [0, 1, 2]
    assert batch.teachers["image"].values["values.x"].flatten().tolist() == [ord("a"), ord("0"), ord("b")]
