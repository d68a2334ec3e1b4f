"""Headers are read as Python's tarfile reads them; indices are made once; a cut shard gives what is whole."""

import gzip
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shelves import picture, shards, tar

from anyx.data.tar import members, number, pax
from anyx.data.tars import Shards, expand, key_of, scan, shards_of
from anyx.data.webdataset import WebDatasetSource
from anyx.faults import EmptyError, MediaError, TruncatedError, fault_of


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_of_tarfile(tmp_path: Path, format: int) -> None:
    long = "a" * 60 + "/" + "b" * 80 + ".txt"  # USTAR parts it into prefix and name
    longer = "" if format == tarfile.USTAR_FORMAT else "c" * 300 + ".png"
    names = ["fox.png", long, "deep/er/fox.seg.png", "füchse.txt" if longer else "x.txt", *([longer] if longer else [])]
    path = tar(tmp_path / "a.tar", {name: b"x" * (700 * i) for i, name in enumerate(names)}, format)
    with tarfile.open(path, "a", format=format) as file:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
    with tarfile.open(path) as file:
        expected = [(info.name, info.offset_data, info.size) for info in file if info.isfile()]
    assert [tuple(found) for found in members(path)] == expected
    assert len(expected) == len(names)


def test_numbers_and_pax_records() -> None:
    assert number(b"0000644\0") == 0o644
    assert number(b" 17 \0\0\0") == 0o17
    assert number(b"\x80" + (5 << 33).to_bytes(11, "big")) == 5 << 33, "GNU's form of more than 8 GiB"
    assert pax(b"16 path=a/fox=b\n" + b"18 size=123456789\n"[:17] + b"\n") == {"path": "a/fox=b", "size": "123456789"}


def test_names_with_braces_and_stars(tmp_path: Path) -> None:
    assert expand("s-{008..011}.tar") == ["s-008.tar", "s-009.tar", "s-010.tar", "s-011.tar"]
    assert expand("{a,b}-{2..1}") == ["a-2", "a-1", "b-2", "b-1"]
    folder = shards(tmp_path / "s", [1, 1, 1])
    every = [str(folder / f"00{i}.tar") for i in range(3)]
    assert shards_of(str(folder)) == shards_of(f"{folder}/*.tar") == shards_of(f"{folder}/{{000..002}}.tar") == every
    assert shards_of([every[2], every[0]]) == [every[2], every[0]]
    with pytest.raises(ValueError, match=r"path: no such shard: .*003\.tar"):
        shards_of(f"{folder}/{{000..003}}.tar")


def test_keys_end_at_the_first_dot_of_the_name() -> None:
    assert key_of("a.b/fox.seg.PNG") == ("a.b/fox", "seg.png")
    assert key_of("fox") == ("fox", "")


def test_shards_that_webdataset_wrote(tmp_path: Path) -> None:
    """The reference's own writer and reader see the samples that we see."""
    with webdataset.ShardWriter(str(tmp_path / "%03d.tar"), maxcount=4, verbose=0) as writer:
        for i in range(10):
            writer.write({"__key__": f"some/{i:03d}", "png": picture(i), "txt": f"number {i}", "json": {"i": i}})
    theirs = [dict(sample) for sample in webdataset.WebDataset(shards_of(str(tmp_path)), shardshuffle=False)]
    source = Shards(shards_of(str(tmp_path)), tmp_path / "index")
    assert source.spans.tolist() == [0, 4, 8, 10]
    assert len(theirs) == 10
    for i, sample in enumerate(theirs):
        key, files = source.sample(i)
        assert key == sample["__key__"]
        assert {name: file.read() for name, file in files.items()} == {
            name: data for name, data in sample.items() if not name.startswith("__")
        }


def test_an_index_is_made_once_and_anew_when_its_shard_changes(tmp_path: Path) -> None:
    folder, index = shards(tmp_path / "s", [3, 2]), tmp_path / "index"
    assert len(Shards(shards_of(str(folder)), index).spans) == 3
    made = {path.name: path.stat().st_mtime_ns for path in index.iterdir()}
    assert len(made) == 2
    Shards(shards_of(str(folder)), index)
    assert {path.name: path.stat().st_mtime_ns for path in index.iterdir()} == made
    tar(folder / "001.tar", {"a.txt": b"a", "b.txt": b"b", "c.txt": b"c"})
    again = Shards(shards_of(str(folder)), index)
    assert again.spans.tolist() == [0, 3, 6]
    assert again.sample(5)[0] == "c"
    assert len(list(index.iterdir())) == 3


def test_a_packed_shard_is_refused_at_once(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", [1])
    (folder / "000.tar").write_bytes(gzip.compress((folder / "000.tar").read_bytes()))
    with pytest.raises(ValueError, match=r"000.tar is compressed \(gzip\).* unpack it"):
        WebDatasetSource(str(folder), index=tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
def test_a_shard_cut_anywhere_gives_its_whole_samples(tmp_path: Path, share: float) -> None:
    data = (shards(tmp_path / "whole", [5]) / "000.tar").read_bytes()
    marks = [found for found in members(tmp_path / "whole/000.tar") if found.name.endswith("txt")]
    end = -(-(marks[-1].offset + marks[-1].size) // 512) * 512  # of the last member; beyond it lies nothing of worth
    path, cut = tmp_path / f"{share}.tar", int(share * end)
    path.write_bytes(data[:cut])
    source = WebDatasetSource(str(path), index=tmp_path / "index")
    whole = sum(-(-(mark.offset + mark.size) // 512) * 512 + 512 <= cut for mark in marks)  # the next header is there
    good, failed = [], {}
    for i in range(len(source)):
        try:
            good.append(source[i]["caption"])
            source[i]["media"]["image"].read()
        except MediaError as caught:
            failed[i] = fault_of(caught)
    assert failed == {len(source) - 1: "truncated" if cut else "zero-length"}, "only the last one lacks something"
    assert good == [f"number {i}" for i in range(whole)]
    os.remove(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 6 * 1024), st.binary(min_size=1, max_size=40))
def test_noise_in_a_shard_ends_its_walk_at_worst(tmp_path: Path, place: int, noise: bytes) -> None:
    """Whatever stands in headers: no error but of the samples it meets, and those before it are as they were."""
    path = tmp_path / "a.tar"
    if not path.exists():
        tar(path, {f"{'long' * 40}{i}.{end}": b"x" * 200 for i in range(4) for end in ("txt", "cls")})
    data = bytearray(path.read_bytes())
    before = [found for found in members(path) if found.offset + 1024 < place]
    data[place : place + len(noise)] = noise
    (tmp_path / "noise.tar").write_bytes(data)
    found = list(members(tmp_path / "noise.tar"))
    assert found[: len(before)] == before
    assert all(one.size >= 0 for one in found[:-1])
    scan(str(tmp_path / "noise.tar"))


def test_what_a_cut_shard_says(tmp_path: Path) -> None:
    path = shards(tmp_path / "s", [3]) / "000.tar"
    data = bytearray(path.read_bytes())
    place = [found.offset for found in members(path)][4] - 512
    for name, bytes_, kind, told in (
        ("empty", b"", EmptyError, "the shard holds 0 bytes"),
        ("cut", bytes(data[: place + 300]), TruncatedError, "the shard is truncated in 0001, at byte"),
        ("broken", bytes(data[:place] + b"?" * 512 + data[place + 512 :]), MediaError, "no tar header in 0001 at byte"),
    ):
        (tmp_path / f"{name}.tar").write_bytes(bytes_)
        source = Shards([str(tmp_path / f"{name}.tar")], tmp_path / "index")
        last = int(source.spans[-1]) - 1
        with pytest.raises(kind, match=told):
            source.sample(last)


def test_an_index_costs_no_memory_to_speak_of(tmp_path: Path) -> None:
    """A table is mapped, not read; the source itself holds a number a shard."""
    files = {f"{i:06d}.{end}": b"" for i in range(2000) for end in ("png", "txt")}
    path = tar(tmp_path / "a.tar", files, tarfile.USTAR_FORMAT)
    table = scan(str(path))
    assert len(table) == 4000
    assert table.nbytes / 2000 < 100, "bytes a sample, on disk"
    source = Shards([str(path)], tmp_path / "index")
    assert source.spans.nbytes == 16
    assert isinstance(np.load(source.indices[0], mmap_mode="r"), np.memmap)
    assert source.sample(1999)[0] == "001999"
