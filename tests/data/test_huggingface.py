"""Tables through `datasets`: parquet, arrow and folders; media stay bytes; empty columns are none."""

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import datasets
import pytest
from shelves import picture

from anyx.data.cache import media_digest
from anyx.data.huggingface import HuggingFaceSource
from anyx.data.sources import feed
from anyx.faults import MediaError, fault_of
from anyx.media import Image


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def table(count: int = 6, begin: int = 0) -> Any:
    rows = range(begin, begin + count)
    data = {
        "image": [{"bytes": picture(i), "path": f"{i}.png"} for i in rows],
        "caption": [f"number {i}" for i in rows],
    }
    return datasets.Dataset.from_dict(data).cast_column("image", datasets.Image(decode=True))


def test_parquet_arrow_and_folders_hold_the_same_records(tmp_path: Path) -> None:
    table(3).to_parquet(tmp_path / "a0.parquet")
    table(3, 3).to_parquet(tmp_path / "a1.parquet")
    table().save_to_disk(tmp_path / "folder")
    datasets.DatasetDict({"train": table(), "test": table(1)}).save_to_disk(tmp_path / "splits")
    arrow = next((tmp_path / "folder").glob("*.arrow"))
    sources = [
        HuggingFaceSource(f"{tmp_path}/a{{0..1}}.parquet"),
        HuggingFaceSource([f"{tmp_path}/a0.parquet", f"{tmp_path}/a1.parquet"]),
        HuggingFaceSource(str(arrow)),
        HuggingFaceSource(str(tmp_path / "folder")),
        HuggingFaceSource(str(tmp_path / "splits"), split="train"),
    ]
    for source in sources:
        assert len(source) == 6
        assert [record["caption"] for record in source] == [f"number {i}" for i in range(6)]
        assert [record["media"]["image"].read() for record in source] == [picture(i) for i in range(6)], "undecoded"
    assert len(HuggingFaceSource(str(tmp_path / "folder"), limit=2)) == 2
    with pytest.raises(ValueError, match="split: 'val' is not one of train, test"):
        HuggingFaceSource(str(tmp_path / "splits"), split="val")


def test_messages_lose_what_their_columns_leave_empty(tmp_path: Path) -> None:
    """A table gives every part every column; media may stand beside the messages, in their order."""
    part = {"type": "image", "text": None}
    asks = [[part, part, {"type": "text", "text": "Two?"}], [{"type": "text", "text": "None?"}]]
    reply = {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}
    data = {
        "messages": [[{"role": "user", "content": ask}, reply] for ask in asks],
        "images": [[{"bytes": picture(i), "path": None} for i in (0, 1)], []],
    }
    datasets.Dataset.from_dict(data).save_to_disk(tmp_path / "chat")
    source = HuggingFaceSource(str(tmp_path / "chat"))
    first, second, words = source[0]["messages"][0]["content"]
    assert [first["media"].read(), second["media"].read()] == [picture(0), picture(1)]
    assert first.keys() == {"type", "media"}, "a part has no more than it says"
    assert words == {"type": "text", "text": "Two?"}
    assert source[1]["messages"][0]["content"] == [{"type": "text", "text": "None?"}]


def test_bytes_are_read_when_they_are_wanted(tmp_path: Path) -> None:
    """A record costs no more than its words: bucketing and caching look at many before one is decoded."""
    big = b"x" * 20_000_000
    datasets.Dataset.from_dict({"image": [{"bytes": big, "path": None}], "text": ["big"]}).save_to_disk(tmp_path / "t")
    source = HuggingFaceSource(str(tmp_path / "t"))
    tracemalloc.start()
    cell = source[0]["media"]["image"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert (cell.size, cell.read()) == (len(big), big)
    assert media_digest(cell) == media_digest(big)
    assert pickle.loads(pickle.dumps(cell)).read() == big
    with pytest.raises(MediaError, match="cannot read image: cannot identify"):
        Image.read(cell)


def test_columns_are_named_and_paths_found(tmp_path: Path) -> None:
    data = {"file": ["a.png", None], "said": ["fox", "dog"]}
    datasets.Dataset.from_dict(data).to_parquet(tmp_path / "a.parquet")
    fields = {"image": "file", "caption": ["said"]}
    node = {"type": "huggingface", "path": str(tmp_path / "a.parquet"), "fields": fields, "direction": "in"}
    given = feed("pairs", node).source
    assert given[0]["messages"][0]["content"][0]["media"] == str(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a/1: none of its columns \(file, said\) holds media") as error:
        given[1]
    assert fault_of(error.value) == "missing"
    with pytest.raises(ValueError, match="fields: there is no column 'sad', but file, said"):
        feed("pairs", {**node, "fields": {"image": "file", "caption": "sad"}})


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("none-*.parquet", "path: no such file"),
        ("a.txt", "path: files are .parquet or .arrow"),
        ("bad.parquet", "pairs"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path: Path, path: str, told: str) -> None:
    for name in ("a.txt", "bad.parquet"):
        (tmp_path / name).write_text("no table")
    with pytest.raises(ValueError, match=told):
        feed("pairs", {"type": "huggingface", "path": str(tmp_path / path)})
