"""A sample becomes a record: by itself, by extensions, by fields; as a pair or a dialogue; bad ones by their fault."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import tiny
from shelves import picture, shards, tar

from anyx import config as configs
from anyx.data.cache import media_digest
from anyx.data.dialogues import DialogueReader
from anyx.data.sources import feed
from anyx.data.webdataset import WebDatasetSource
from anyx.faults import fault_of
from anyx.files import Member
from anyx.media import Image


def source(folder: Path, files: dict[str, Any], **options: Any) -> WebDatasetSource:
    data = {name: value if isinstance(value, bytes) else json.dumps(value).encode() for name, value in files.items()}
    return WebDatasetSource(str(tar(folder / "a.tar", data)), index=folder / "index", **options)


def test_a_pair_is_known_by_its_extensions(tmp_path: Path) -> None:
    given = source(tmp_path, {"one.PNG": picture(1), "one.txt": b"a fox\n", "two.jpg": picture(2, "jpg"), "two.cls": 7})
    record = given[0]
    assert (record["id"], record["caption"]) == ("one", "a fox")
    member = record["media"]["image"]
    assert isinstance(member, Member)
    assert member.read() == picture(1)
    assert Image.read(member).pixels.equal(Image.read(picture(1)).pixels)
    assert media_digest(member) == media_digest(picture(1)), "features are known by the bytes, wherever they lie"
    assert given[1]["caption"] == "7"
    assert [record["id"] for record in given[0:2]] == ["one", "two"]
    assert given[-1]["id"] == "two"
    with pytest.raises(IndexError):
        given[2]


def test_fields_name_other_files_and_places_in_json(tmp_path: Path) -> None:
    files = {"a.seg.png": picture(1), "a.png": picture(2), "a.json": {"caption": "a fox", "label": {"x": 1}}}
    named = source(tmp_path, files, fields={"image": "jpg;seg.png", "caption": "json.caption"})
    assert named[0]["media"]["image"].name == "a.seg.png"
    assert named[0]["caption"] == "a fox"
    assert source(tmp_path, files)[0]["caption"] == "a fox", "the usual place of captions in json is known"


def test_a_json_that_is_a_record_names_its_files(tmp_path: Path) -> None:
    parts = [{"type": "image", "path": "0.png"}, {"type": "image", "path": "b.1.png"}, {"type": "text", "text": "Two?"}]
    said = {"id": "mine", "messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "Two."}]}
    pair = {"media": {"image": ["0.png", "1.png"]}, "caption": "fox"}
    pictures = {f"{key}.{i}.png": picture(i) for key in "ab" for i in (0, 1)}
    files = {"a.json": pair, "b.json": said, **pictures}
    given = source(tmp_path, dict(sorted(files.items())))
    assert [member.name for member in given[0]["media"]["image"]] == ["a.0.png", "a.1.png"]
    record = given[1]
    assert record["id"] == "mine"
    assert [part["media"].name for part in record["messages"][0]["content"][:2]] == ["b.0.png", "b.1.png"]
    assert record["messages"][1]["content"] == "Two."


@pytest.mark.parametrize("direction", ["in", "out"])
def test_pairs_become_dialogues_that_a_model_reads(tmp_path: Path, direction: Any) -> None:
    folder = shards(tmp_path / "s", [2, 2])
    options = {"direction": direction, "prompts": ["What?" if direction == "in" else "Draw {}!"]}
    given = feed("chat", {"type": "webdataset", "path": str(folder), "index": str(tmp_path / "index"), **options})
    record = given.source[3]
    ask, answer = (message["content"] for message in record["messages"])
    if direction == "in":
        assert (ask[1]["text"], answer) == ("What?", "number 3")
    else:
        assert ask == "Draw number 3!"
        assert answer[0]["caption"] == "number 3"
    reader = DialogueReader(tiny.anyx().processor)
    batch = reader.collate([reader.read(given.source[i], given, 0) for i in range(4)]).batch
    assert len((batch.inputs if direction == "in" else batch.targets)["image"].rows) == 4


@pytest.mark.parametrize(
    ("files", "fault", "told"),
    [
        ({"a.png": picture(0), "a.txt": b" "}, "zero-length", "a: the caption has 0 characters"),
        ({"a.txt": b"a fox"}, "missing", r"a: none of its columns \(txt\) holds media"),
        ({"a.json": b"{broken", "a.png": b"x"}, "corrupt", "a: Expecting"),
        ({"a.json": {"media": {"image": "b.png"}}, "a.png": b"x"}, "missing", "b.png: the sample holds no such file"),
        ({"a.json": {"messages": 5}, "a.png": b"x"}, "unfit", "messages: 5 is no list"),
        ({"a.png": b"x", "a.txt": b"\xff"}, "corrupt", "a: .*decode"),
        ({"a.png": b"x", "a.PNG": b"y"}, "corrupt", "two files of the sample are called .png"),
    ],
)
def test_a_bad_sample_is_an_error_of_its_fault(tmp_path: Path, files: dict[str, Any], fault: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as error:
        source(tmp_path, files)[0]
    assert fault_of(error.value) == fault


def test_a_source_travels_to_workers_and_ends_where_it_is_told(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s", [3, 3, 3])
    given = WebDatasetSource(str(folder), index=tmp_path / "index", limit=4)
    assert (len(given), list(given.spans)) == (4, [0, 3, 4])
    data = pickle.dumps(given)
    assert len(data) < 2000
    assert pickle.loads(data)[3] == given[3]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"direction": "up"}, "direction: 'up' is not one of in, out"),
        ({"prompts": ["Draw!"], "direction": "out"}, "each says by {} where the caption stands"),
        ({"prompts": ["What?"]}, "prompts, reply: these are of dialogues; give a direction"),
        ({"fields": {}}, "fields: nothing is named"),
        ({"window": 0}, "window: >= 1 shards"),
        ({"path": "nowhere-{0..3}.tar"}, "path: no such shard: nowhere-0.tar"),
        ({"limits": {"pixel": 3}}, "data.s.limits: 'pixel' is not one of bytes, pixels"),
        ({"limits": {"pixels": 0}}, "limits.pixels is a number > 0, but 0 was given"),
    ],
)
def test_mistakes_are_said_at_once(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    node = {"type": "webdataset", "path": str(shards(tmp_path / "s", [1])), "index": str(tmp_path / "i"), **options}
    with pytest.raises(ValueError, match=told):
        feed("s", node)


def test_a_yaml_is_checked_with_its_limits() -> None:
    node = {"type": "webdataset", "path": "a.tar", "windw": 3, "limits": {"pixel": 3, "seconds": "long"}}
    with pytest.raises(ValueError, match="windw") as error:
        configs.check({"data": {"s": node}})
    assert "data.s.limits.pixel: Key 'pixel' not in 'limits'. Did you mean: 'pixels'?" in str(error.value)
    assert "data.s.limits.seconds" in str(error.value)
