"""What is packed comes back as it was, media and all; shards are of about the size that was asked for."""

import json
from pathlib import Path

import pytest
from shelves import picture

from anyx.data.pack import Shelf
from anyx.data.sources import JSONLSource
from anyx.data.webdataset import WebDatasetSource
from anyx.media import Image


def test_a_dialogue_and_a_pair_come_back(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(picture(index))
    ask = [{"type": "image", "path": "0.png"}, {"type": "image", "path": "1.png"}, {"type": "text", "text": "Two?"}]
    shown = [{"type": "text", "text": "Here:"}, {"type": "image", "caption": "a fox"}]
    chat = {"id": "a.b", "messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": shown}]}
    pair = {"media": {"image": ["1.png", "2.png"]}, "caption": "foxes"}
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, [chat, pair])))
    source = JSONLSource(tmp_path / "all.jsonl")
    shelf = Shelf(tmp_path / "shards", 1 << 20)
    for record in source:
        shelf.add(record)
    shelf.close()
    assert (shelf.written, shelf.shards) == (2, 1)
    given = WebDatasetSource(str(tmp_path / "shards"), index=tmp_path / "index")
    assert [record["id"] for record in given] == ["a.b", "all/1"]
    first, second, words = given[0]["messages"][0]["content"]
    assert [first["media"].read(), second["media"].read()] == [picture(0), picture(1)]
    assert words["text"] == "Two?"
    assert given[0]["messages"][1]["content"] == shown
    assert [member.read() for member in given[1]["media"]["image"]] == [picture(1), picture(2)]
    assert given[1]["caption"] == "foxes"
    again = Shelf(tmp_path / "again", 1 << 20)  # from shards, and of bytes and values
    for record in (*given, {"id": "c", "media": {"image": picture(2)}}):
        again.add(record)
    again.close()
    assert len(WebDatasetSource(str(tmp_path / "again"), index=tmp_path / "index")) == 3


def test_shards_have_a_size_and_are_whole_or_not_there(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shards", 20_000)
    for index in range(35):
        shelf.add({"id": str(index), "media": {"image": picture(index)}, "caption": str(index)})
    assert {path.suffix for path in shelf.folder.iterdir()} == {".tar", ".part"}
    shelf.close()
    sizes = [path.stat().st_size for path in sorted(shelf.folder.iterdir())]
    assert len(sizes) == shelf.shards > 2
    assert all(20_000 <= size < 40_000 for size in sizes[:-1])
    given = WebDatasetSource(str(tmp_path / "shards"), index=tmp_path / "index")
    assert [record["caption"] for record in given] == [str(index) for index in range(35)]
    with pytest.raises(ValueError, match="holds shards already"):
        Shelf(tmp_path / "shards", 20_000)
    with pytest.raises(ValueError, match="packed from paths and bytes, but int was given"):
        Shelf(tmp_path / "more", 20_000).add({"id": "x", "media": {"image": 5}})
    value = Image.read(picture(0))
    values = Shelf(tmp_path / "values", 20_000)
    values.add({"id": "x", "media": {"image": value}})
    values.close()
    source = WebDatasetSource(str(tmp_path / "values"), index=tmp_path / "index")
    assert Image.read(source[0]["media"]["image"]).pixels.equal(value.pixels)
