"""An optimised folder is a source like any other: any order, workers, resumption. Where litdata is installed."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from anyx.data.sources import feed
from anyx.media import Image


def make(index: int) -> dict[str, Any]:
    picture = Image(torch.full((3, 8, 8), index, dtype=torch.uint8))
    return {"image": picture.to_bytes("png"), "caption": f"number {index}"}


class Captions(Dataset[str]):
    def __init__(self, source: Any) -> None:
        self.source = source

    def __getitem__(self, index: int) -> str:
        return str(self.source[index]["caption"])


def test_a_folder_without_an_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data.bits: path: .* is no folder of `litdata.optimize`"):
        feed("bits", {"type": "litdata", "path": str(tmp_path)})


def test_items_are_records_in_any_order(tmp_path: Path) -> None:
    litdata = pytest.importorskip("litdata")
    method = multiprocessing.get_start_method()
    writer = litdata.streaming.Cache(str(tmp_path / "bits"), chunk_bytes=500)
    for index in range(20):
        writer[index] = make(index)
    writer.done()
    writer.merge()
    multiprocessing.set_start_method(method, force=True)
    source = feed("bits", {"type": "litdata", "path": str(tmp_path / "bits")}).source
    assert len(source) == 20
    assert int(Image.read(source[7]["media"]["image"]).pixels[0, 0, 0]) == 7
    order = [3, 19, 0, 7, 7, 12, 1]
    expected = [f"number {index}" for index in order]
    assert [source[index]["caption"] for index in order] == expected
    for workers in (0, 2):
        loaded = DataLoader(Captions(source), sampler=order, batch_size=None, num_workers=workers)
        assert list(loaded) == expected
