"""Digests depend on what they should; values come back as they were put, across processes and after a cut."""

import pickle
from pathlib import Path

import pytest
import tiny
import torch

from anyx.data.cache import FeatureCache, module_digest, parameters_digest, transform_digest
from anyx.digests import digest, media_digest
from anyx.media import Audio, Image, Video


def test_values_come_back(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    value = {"values": torch.randn(3, 4), "mask": torch.tensor([True, False, True])}
    cache.put({"a": value, "b": {"latents": torch.randn(2, 2).bfloat16()}})
    cache.put({})
    again = pickle.loads(pickle.dumps(FeatureCache(tmp_path)))
    assert sorted(again) == ["a", "b"]
    assert torch.equal(again["a"]["values"], value["values"])
    assert torch.equal(again["a"]["mask"], value["mask"])
    assert again["b"]["latents"].dtype == torch.bfloat16
    assert again.missing(["c", "a", "c", "d"]) == ["c", "d"]
    assert "c" not in again
    with pytest.raises(KeyError):
        again["c"]


def test_a_shard_cut_short_is_dropped(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put({"a": {"x": torch.zeros(100)}})
    cache.put({"b": {"x": torch.ones(100)}})
    shard = tmp_path / cache._index["a"][0]
    shard.write_bytes(shard.read_bytes()[:20])
    again = FeatureCache(tmp_path)
    assert list(again) == ["b"]
    assert not shard.exists()


def test_digests_see_boundaries_and_content(tmp_path: Path) -> None:
    assert digest("ab", "c") != digest("a", "bc")
    file = tmp_path / "a.bin"
    file.write_bytes(b"media")
    twin = tmp_path / "b.bin"
    twin.write_bytes(b"media")
    before = media_digest(file)
    assert before == media_digest(str(twin))
    file.write_bytes(b"other")
    assert media_digest(file) != before
    with pytest.raises(ValueError, match="int was given"):
        media_digest(3)


def test_media_values_are_known_by_their_tensors() -> None:
    pixels = torch.arange(48, dtype=torch.uint8).view(3, 4, 4)
    assert media_digest(Image(pixels)) == media_digest(Image(pixels.clone()))
    assert media_digest(Image(pixels)) != media_digest(Image(pixels.view(3, 2, 8)))
    sound = torch.zeros(1, 8)
    assert media_digest(Audio(sound, 8000)) != media_digest(Audio(sound, 16000))
    frames = pixels[None]
    assert media_digest(Video(frames, 5.0)) != media_digest(Video(frames, 5.0, Audio(sound, 8000)))


def test_modules_are_known_by_their_weights() -> None:
    encoder = tiny.TinyEncoder()
    before = module_digest(encoder)
    assert before == module_digest(encoder)
    assert before != module_digest(encoder, transform_digest(encoder.transform))
    with torch.no_grad():
        encoder.map.bias[0] += 1
    assert module_digest(encoder) != before


def test_every_single_weight_counts() -> None:
    large = torch.nn.Linear(200, 200)
    before = module_digest(large)
    with torch.no_grad():
        large.weight[100, 101] += 1
    assert module_digest(large) != before
    assert parameters_digest([torch.zeros(2)]) != parameters_digest([torch.zeros(2, dtype=torch.int32)])
