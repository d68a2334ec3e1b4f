"""JSONL records, the nodes of `data:`, LLaVA and caption pairs."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from anyx.data.formats import CaptionSource, LlavaSource
from anyx.data.sources import JSONLSource, feed
from anyx.media import Image


def write(path: Path, *records: object) -> Path:
    path.write_text("\n".join(record if isinstance(record, str) else json.dumps(record) for record in records))
    return path


def brighter(key: str, media: Image, generator: torch.Generator) -> Image:
    return Image((media.pixels.float() + torch.rand((), generator=generator) * 255).clamp(0, 255).to(torch.uint8))


def dialogue(path: str | list[str] = "a.png") -> dict[str, object]:
    ask = [{"type": "image", "path": path}, {"type": "text", "text": "What is this?"}]
    return {"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": "A fox."}]}


def test_jsonl_records_have_ids_and_located_media(tmp_path: Path) -> None:
    source = JSONLSource(write(tmp_path / "chat.jsonl", dialogue(), "", dialogue("/abs/b.png") | {"id": "second"}))
    assert len(source) == 2
    assert source[0]["id"] == "chat/0"
    assert source[0]["messages"][0]["content"][0]["path"] == str(tmp_path / "a.png")
    assert source[1]["id"] == "second"
    assert source[1]["messages"][0]["content"][0]["path"] == "/abs/b.png"
    assert source[0]["messages"][1]["content"] == "A fox."
    assert [record["id"] for record in source[0:2]] == ["chat/0", "second"]


def test_jsonl_keeps_the_records_whose_media_are_named(tmp_path: Path) -> None:
    heard = {"messages": [{"role": "user", "content": [{"type": "audio", "path": "a.wav"}]}]}
    words = {"messages": [{"role": "user", "content": "Hi."}]}
    pair = {"media": {"audio": "a.wav", "image": "a.png"}, "caption": "a fox"}
    path = write(tmp_path / "chat.jsonl", dialogue(), heard, words, "{broken", pair)
    assert [record["id"] for record in JSONLSource(path, media=["audio"], limit=2)] == ["chat/0", "chat/1"]
    assert len(JSONLSource(path, media=["image"])) == 3, "a line that cannot be read is left for the loader to count"
    assert len(JSONLSource(path, media=["image", "audio"])) == len(JSONLSource(path)) == 5


def test_jsonl_may_be_gzipped(tmp_path: Path) -> None:
    plain = write(tmp_path / "chat.jsonl", dialogue(), dialogue())
    packed = tmp_path / "chat.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(JSONLSource(packed)) == list(JSONLSource(plain))
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"chat\.jsonl\.gz cannot be read"):
        JSONLSource(packed)


def test_jsonl_pairs_and_root(tmp_path: Path) -> None:
    file = write(tmp_path / "pairs.jsonl", {"media": {"image": ["a.png", "b.png"]}, "caption": "fox"})
    assert JSONLSource(file, root="/data")[0]["media"]["image"] == ["/data/a.png", "/data/b.png"]


def says(content: object, **more: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": content, **more}]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "Expecting"),
        ('"text"', "neither 'messages' nor 'media'"),
        ({"id": "neither"}, "neither 'messages' nor 'media'"),
        ({"messages": 5}, "messages: 5 is no list"),
        ({"messages": ["hi"]}, "messages: each is a mapping with a \"role\", but 'hi' was given"),
        ({"messages": [{"content": "hi"}]}, 'messages: each is a mapping with a "role"'),
        (says(None), "content: NoneType given"),
        (says(["hi"]), "each part is a mapping with a \"type\"; received 'hi'"),
        (says([{"type": ["image"]}]), 'each part is a mapping with a "type"'),
        (says([{"type": "text"}]), 'a text part has a string "text"'),
        (says([{"type": "image", "path": "a.png", "caption": 5}]), "caption: a string is needed, but 5 was given"),
        (says([{"type": "text", "text": "half a \ud83d"}]), "surrogates not allowed"),
        ({"media": ["a.png"]}, r"media: \['a.png'\] is no mapping"),
        ({"media": {"image": []}}, "is no mapping of keys to a source or sources"),
        ({"media": {"image": "a.png"}, "caption": ["fox"]}, "caption: a string is needed"),
    ],
)
def test_a_bad_line_is_an_error_of_that_record_only(tmp_path: Path, line: object, message: str) -> None:
    source = JSONLSource(write(tmp_path / "chat.jsonl", line, dialogue()))
    with pytest.raises(ValueError, match=rf"chat\.jsonl: record 0: .*{message}"):
        source[0]
    assert source[1]["id"] == "chat/1"


def test_feed_builds_a_node(tmp_path: Path) -> None:
    file = write(tmp_path / "chat.jsonl", dialogue())
    plain = feed("chat", {"type": "jsonl", "path": str(file)})
    assert (plain.name, plain.variants, plain.augment) == ("chat", 1, None)
    endless = feed("chat", {"type": "jsonl", "path": str(file), "augment": f"{__name__}:brighter"})
    assert endless.variants == 0
    assert endless.identity.startswith("brighter/")
    by_file = feed("chat", {"type": "jsonl", "path": str(file), "augment": f"{__file__}:brighter", "variants": 2})
    assert (by_file.variants, by_file.identity) == (2, endless.identity)
    custom = feed("chat", {"type": "anyx.data.sources:JSONLSource", "path": str(file), "limit": 1})
    assert len(custom.source) == 1


@pytest.mark.parametrize("record", [{"media": {"image": ["a.png", "b.png"]}}, dialogue(["a.png", "b.png"])])
def test_several_files_are_drawn_from_without_end(tmp_path: Path, record: dict[str, object]) -> None:
    """Of one variant, only one of them would ever be seen; what a YAML says itself stands."""
    file = write(tmp_path / "pairs.jsonl", "{broken", {"media": {"image": "c.png"}}, record)
    assert feed("pairs", {"path": str(file)}).variants == 0
    assert feed("pairs", {"path": str(file), "limit": 2}).variants == 1
    assert feed("pairs", {"path": str(file), "variants": 1}).variants == 1


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"type": "parquet"}, "data.chat.type: 'parquet' is not one of jsonl, llava, llava_plus, captions"),
        ({"type": "jsonl", "path": "nowhere.jsonl"}, "data.chat: path: no such file"),
        ({"type": "jsonl", "pth": "x"}, "data.chat.pth: 'jsonl' takes path"),
        ({"type": "nobody:Source"}, "data.chat.type: 'nobody:Source' cannot be imported"),
    ],
)
def test_feed_errors_name_the_key(node: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        feed("chat", node)


def test_an_empty_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no records"):
        feed("chat", {"type": "jsonl", "path": str(write(tmp_path / "chat.jsonl", ""))})


def test_llava_marks_become_media(tmp_path: Path) -> None:
    turns = [
        {"from": "human", "value": "<image>\nCompare with <image>."},
        {"from": "gpt", "value": "Both are foxes."},
        {"from": "human", "value": "And <audio>?"},
        {"from": "gpt", "value": "A bark."},
    ]
    rows = [{"id": 7, "image": ["a.png", "b.png"], "audio": "c.wav", "conversations": turns}]
    file = tmp_path / "llava.json"
    file.write_text(json.dumps(rows))
    record = LlavaSource(file)[0]
    assert record["id"] == "7"
    assert [message["role"] for message in record["messages"]] == ["user", "assistant"] * 2
    assert record["messages"][0]["content"] == [
        {"type": "image", "path": str(tmp_path / "a.png")},
        {"type": "text", "text": "Compare with"},
        {"type": "image", "path": str(tmp_path / "b.png")},
        {"type": "text", "text": "."},
    ]
    assert record["messages"][2]["content"][1] == {"type": "audio", "path": str(tmp_path / "c.wav")}


def test_llava_counts_marks(tmp_path: Path) -> None:
    """Of each kind by itself: two pictures and a clip's file are no row of two pictures."""
    file = tmp_path / "llava.json"
    row = {"image": "a.png", "conversations": [{"from": "human", "value": "no mark"}]}
    two = {"image": "a.png", "video": "b.mp4", "conversations": [{"from": "human", "value": "<image> and <image>"}]}
    file.write_text(json.dumps([row, two]))
    for index, told in enumerate(("0 marks <image> but 1 files", "2 marks <image> but 1 files")):
        with pytest.raises(ValueError, match=told):
            LlavaSource(file)[index]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("看<image>图。这是什么", "看图。这是什么"),
        ("<image>\n描述", "描述"),
        ("What is <image> here", "What is here"),
    ],
)
def test_words_around_a_medium_that_moves_to_the_front_meet_again(tmp_path: Path, said: str, left: str) -> None:
    file = tmp_path / "llava.json"
    turns = [{"from": "human", "value": said}, {"from": "gpt", "value": "ok"}]
    file.write_text(json.dumps([{"image": "a.png", "conversations": turns}]))
    picture, words = LlavaSource(file, front=True)[0]["messages"][0]["content"]
    assert (picture["type"], words["text"]) == ("image", left)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "tsv"])
def test_captions_in_both_directions(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"pairs.{suffix}"
    row = {"image_name": "a.png", "caption": "a fox, red"}
    if suffix in ("csv", "tsv"):
        between = "," if suffix == "csv" else "\t"
        file.write_text(f'image_name{between}caption\na.png{between}"a fox, red"\n')
    else:
        file.write_text(json.dumps([row] if suffix == "json" else row))
    described = CaptionSource(file, key="image", prompts=["What is it?"])[0]["messages"]
    assert described[0]["content"][0]["path"] == str(tmp_path / "a.png")
    assert described[0]["content"][1]["text"] == "What is it?"
    assert described[1]["content"] == "a fox, red"
    asked = CaptionSource(file, key="image", direction="out", prompts=["Draw {}!"], reply="Here:")[0]["messages"]
    assert asked[0]["content"] == "Draw a fox, red!"
    assert [part["type"] for part in asked[1]["content"]] == ["text", "image"]
    assert asked[1]["content"][1]["caption"] == "a fox, red"


ROW = '{"path": "a.png", "caption": "a fox"}'


@pytest.mark.parametrize(
    "line", ["{broken", "[" * 200_000, "[]", '{"path": 5, "caption": 6}', '{"path": "a.png", "caption": [1]}']
)
@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_bad_row_is_an_error_of_that_row_only(tmp_path: Path, line: str, direction: Any) -> None:
    source = CaptionSource(write(tmp_path / "pairs.jsonl", line, "", ROW), key="image", direction=direction)
    with pytest.raises(ValueError, match=r"pairs\.jsonl: row 0"):
        source[0]
    assert source[1]["id"] == "pairs/1"


ASKED = {"conversations": [{"from": "human", "value": "Hi"}]}  # and nobody answers


@pytest.mark.parametrize(
    "row", ["a fox", {"conversations": 5}, {"conversations": [5]}, {"image": 5}, {}, {"conversations": []}, ASKED]
)
def test_a_bad_conversation_is_an_error_of_that_row_only(tmp_path: Path, row: object) -> None:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    file = write(tmp_path / "llava.json", [row, {"conversations": turns}])
    with pytest.raises(ValueError, match=r"llava\.json: row 0"):
        LlavaSource(file)[0]
    assert LlavaSource(file)[1]["messages"][0]["content"] == [{"type": "text", "text": "Hi"}]


def test_rows_end_where_their_format_says(tmp_path: Path) -> None:
    """A separator of lines within a caption ends no row, a cell may have several lines, a file may begin with a BOM."""
    said = "two\u2028lines\x85of"
    lines = write(tmp_path / "pairs.jsonl", json.dumps({"path": "a.png", "caption": said}, ensure_ascii=False), ROW)
    assert [CaptionSource(lines, key="image")[i]["messages"][1]["content"] for i in (0, 1)] == [said, "a fox"]
    table = tmp_path / "pairs.csv"
    table.write_bytes('\ufeffpath,caption\r\na.png,"a fox\nat night"\r\nb.png,two\u2028lines\r\n'.encode())
    source = CaptionSource(table, key="image")
    assert [record["messages"][1]["content"] for record in source] == ["a fox\nat night", "two\u2028lines"]
    assert source[0]["messages"][0]["content"][0]["path"] == str(tmp_path / "a.png")


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name, data in (("pairs.json", b"[broken"), ("pairs.csv", b"path,caption\n\xff,fox\n")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=rf"path: .*{name} cannot be read"):
            CaptionSource(tmp_path / name, key="image")


def test_captions_name_what_a_row_lacks(tmp_path: Path) -> None:
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps([{"caption": "a fox"}]))
    with pytest.raises(ValueError, match="row 0: it needs 'caption' and one of image_name, image, path"):
        CaptionSource(file, key="image")[0]
    with pytest.raises(ValueError, match="'sideways' is not one of in, out"):
        CaptionSource(file, key="image", direction="sideways")  # type: ignore[arg-type]
