"""Digests depend on what they should; values come back as they were put, across processes and after a cut."""

import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import save_file

from anyx.data.cache import FeatureCache, stamp_of
from anyx.data.digests import digest, media_digest, module_digest, parameters_digest, transform_digest
from anyx.data.index import NAME, discard
from anyx.data.shards import DamagedError, check, contents
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


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def filled(folder: Path, *names: str) -> FeatureCache:
    """A cache with a shard for each name, of 100 times its place."""
    cache = FeatureCache(folder)
    for place, name in enumerate(names):
        cache.put({name: {"x": torch.full((100,), float(place))}}, maker="eye", kind="features")
    return cache


def test_a_shard_cut_short_is_dropped(tmp_path: Path) -> None:
    cache = filled(tmp_path, "a", "b")
    (shard,) = [path for path in shards(tmp_path) if "a" in contents(path).places]
    shard.write_bytes(shard.read_bytes()[:20])
    assert list(FeatureCache(tmp_path)) == ["b"]
    assert not shard.exists()
    assert cache.missing(["a", "b"]) == ["a"]  # the process that was there before knows it too


def test_a_shard_cut_short_under_a_reader_is_no_crash(tmp_path: Path) -> None:
    cache = filled(tmp_path, "a")
    (shard,) = shards(tmp_path)
    assert cache["a"]["x"].eq(0).all()
    os.truncate(shard, shard.stat().st_size - 4)
    with pytest.raises(KeyError):
        cache["a"]
    assert "a" not in cache
    assert not shard.exists()
    cache.put({"a": {"x": torch.ones(100)}})
    assert cache["a"]["x"].eq(1).all()


def test_changed_numbers_are_found_by_a_check(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    (shard,) = shards(tmp_path)
    check(shard)
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DamagedError, match="not hold the numbers"):
        check(shard)


@pytest.mark.parametrize("harm", [Path.unlink, lambda file: file.write_bytes(b"nonsense" * 999), None])
def test_the_index_is_made_again(tmp_path: Path, harm: Any) -> None:
    """Without one (a cache of an older version), with a broken one, and with one that was broken under us."""
    cache = filled(tmp_path, "a", "b")
    file = tmp_path / NAME
    if harm is None:
        file.write_bytes(file.read_bytes()[:100] + bytes(8000))
        assert cache["b"]["x"].eq(1).all()
    else:
        harm(file)
    again = FeatureCache(tmp_path)
    assert sorted(again) == ["a", "b"]
    assert again["b"]["x"].eq(1).all()
    assert again["a"]["x"].eq(0).all()


def test_shards_of_an_older_version_are_taken_over(tmp_path: Path) -> None:
    save_file({"a/x": torch.ones(3), "a/mask": torch.ones(2, dtype=torch.bool)}, tmp_path / f"{24 * '0'}.safetensors")
    cache = FeatureCache(tmp_path)
    assert cache["a"]["x"].tolist() == [1, 1, 1]
    assert cache["a"]["mask"].tolist() == [True, True]


def test_a_folder_may_be_read_only(tmp_path: Path) -> None:
    """With an index, without one, and with one that lacks a shard; nothing is written there."""
    filled(tmp_path, "a")
    save_file({"b/x": torch.ones(3)}, tmp_path / f"{24 * '1'}.safetensors")
    for _ in range(2):
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        cache = FeatureCache(tmp_path, read_only=True)
        copy = pickle.loads(pickle.dumps(cache))
        assert sorted(cache) == sorted(copy) == ["a", "b"]
        assert copy["b"]["x"].tolist() == [1, 1, 1]
        with pytest.raises(ValueError, match="cannot be written to"):
            cache.put({"c": {"x": torch.zeros(1)}})
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        (tmp_path / NAME).unlink(missing_ok=True)


def write(folder: Path, name: str) -> None:
    cache = FeatureCache(folder)
    for i in range(20):
        cache.put({f"{name}{i}": {"x": torch.full((4,), float(i))}, "both": {"x": torch.zeros(2)}})


def test_processes_write_at_once(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    writers = [multiprocessing.get_context("fork").Process(target=write, args=(tmp_path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    for found in (cache, FeatureCache(tmp_path)):
        found.refresh()
        assert len(found) == 41
        assert all(found[f"{name}{i}"]["x"].tolist() == [i] * 4 for name in "ab" for i in range(20))


def answers(cache: FeatureCache, names: list[str], found: Any) -> None:
    found.put([float(cache[name]["x"][0]) for name in names])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read(tmp_path: Path, method: str) -> None:
    cache = filled(tmp_path, "a", "b")
    assert "a" in cache
    context: Any = multiprocessing.get_context(method)
    found = context.Queue()
    worker = context.Process(target=answers, args=(cache, ["b", "a"], found))
    worker.start()
    assert found.get(timeout=60) == [1, 0]
    worker.join()
    assert cache["a"]["x"].eq(0).all()


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by the next process: of a file that is as it was the digest is noted, unless it is too young to tell."""
    file = tmp_path / "a.bin"
    file.write_bytes(b"media")
    cache = FeatureCache(tmp_path / "cache")
    noted = lambda: cache.ask(lambda index: index.file(str(file), stamp_of(file)))  # noqa: E731
    before = cache.media_digest(file)
    cache.refresh()
    assert noted() is None
    monkeypatch.setattr("anyx.data.cache.FRESH", 0)
    assert before == media_digest(file) == cache.media_digest(str(file))
    cache.refresh()
    assert noted() == before
    time = file.stat().st_mtime_ns
    file.write_bytes(b"other")
    os.utime(file, ns=(time, time))  # as what copies files does
    assert noted() is None
    assert cache.media_digest(file) != before


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not even whole")
    cache = FeatureCache(tmp_path)
    cache.put({"a": {"x": torch.ones(1)}})
    cache.rebuild()
    assert sorted(cache) == ["a"]
    assert (tmp_path / "model.safetensors").read_bytes() == b"not even whole"


def test_an_index_made_again_does_not_end_who_uses_it(tmp_path: Path) -> None:
    one, other = filled(tmp_path, "a"), FeatureCache(tmp_path)
    assert "a" in other
    other.rebuild()
    one.put({"b": {"x": torch.ones(1)}})
    discard(one.file)  # as of one that was broken
    FeatureCache(tmp_path)
    one.put({"c": {"x": torch.ones(1)}})
    other.refresh()
    assert sorted(other) == ["a", "b", "c"]


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
