"""NExT-GPT's files, Alpaca and VideoChat as messages: where media stand, what a bad row is, what is cached of them.

Shapes of rows are those of the published files (github.com/NExT-GPT/NExT-GPT, data/); the rows are ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import components
import pytest
import tiny
import torch

from anyx.commands import main
from anyx.data.cache import FeatureCache
from anyx.data.digests import digest
from anyx.data.instruct import AlpacaSource, VideoChatSource
from anyx.data.native import Tally, records_of
from anyx.data.nextgpt import ConversationSource, MarkedSource, MositSource, PairSource, cleaned
from anyx.data.rows import items, read_rows
from anyx.data.sources import JSONLSource, feed
from anyx.decoders import StableDiffusionDecoder
from anyx.schema import Stage
from anyx.training.prepare import fill
from anyx.training.readers import make_reader
from anyx.training.trainee import Trainee


def written(folder: Path, *rows: Any) -> Path:
    file = folder / "rows.json"
    file.write_text(json.dumps(rows))
    return file


def shapes(message: dict[str, Any]) -> list[str]:
    """A message as its texts, and `<key name caption>` for its media."""
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [
        part["text"]
        if part["type"] == "text"
        else f"<{part['type']} {Path(part.get('path', '-')).name} {part.get('caption', '-')}>"
        for part in parts
    ]


def test_captions_are_cleaned_as_published() -> None:
    """Lower case; of the signs only quotes, brackets, * # : ; ~ become spaces; spaces are one (A4 of the facts)."""
    assert cleaned('A  "Fox" (red): #1; *wild* ~ It\'s here, now.!?') == "a fox red 1 wild it's here, now.!?"
    assert cleaned('"()*#:;~ ') == ""


def test_pairs_ask_as_the_published_stages_do(samples: Path) -> None:
    inwards, outwards = (PairSource(samples / "cc3m.json", direction=side)[0] for side in ("in", "out"))  # type: ignore[arg-type]
    caption = "a red fox young in the snow wild"
    assert inwards["id"] == "11"
    assert [shapes(message) for message in inwards["messages"]] == [
        [f"<image fox.png {caption}>", "generate a caption"],
        [caption],
    ]
    assert [shapes(message) for message in outwards["messages"]] == [[caption], [caption, f"<image fox.png {caption}>"]]
    own = PairSource(samples / "cc3m.json", direction="out", prompts=["Draw {}!"], reply="Here:", clean=False)[1]
    assert shapes(own["messages"][0]) == ["Draw a red fox in the snow wild!"]
    assert shapes(own["messages"][1])[0] == "Here:"
    assert PairSource(samples / "audiocaps.json")[0]["id"] == "91139"
    with pytest.raises(ValueError, match="'sideways' is not one of in, out"):
        PairSource(samples / "cc3m.json", direction="sideways")  # type: ignore[arg-type]


def test_a_key_of_ones_own_and_a_folder_for_each(tmp_path: Path) -> None:
    """Modalities are keys: a further one is a line of the YAML."""
    file = written(tmp_path, {"caption": "far", "depth_name": "a.npy"}, {"caption": "near", "image_name": "b.png"})
    node = {"type": "nextgpt_pairs", "path": str(file), "files": {"depth": "depth_name", "image": "image_name"}}
    source = feed("pairs", node | {"root": {"depth": "/depths"}}).source
    assert source[0]["messages"][0]["content"][0] == {"type": "depth", "caption": "far", "path": "/depths/a.npy"}
    assert source[1]["messages"][0]["content"][0]["path"] == str(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (2, "its caption is empty"),
        (3, "it names 0 files; a pair has one of image_name, video_name, audio_name"),
        (4, "is none that PairSource reads: AttributeError"),
    ],
)
def test_a_bad_pair_says_why(samples: Path, index: int, message: str) -> None:
    with pytest.raises(ValueError, match=rf"cc3m\.json: row {index}:? .*{message}"):
        PairSource(samples / "cc3m.json")[index]


def test_t2m_shows_at_the_end_of_the_turn_that_says_so(samples: Path) -> None:
    first, second = ConversationSource(samples / "t2m.json")[:2]
    assert shapes(first["messages"][1]) == ["Here is a dog that barks twice.", "<audio dog.wav A dog barks twice>"]
    assert [shapes(message) for message in second["messages"]][1:] == [
        ["A fox, for one."],
        ["Show me."],
        ["Here you are.", "<image never_published.jpg a red fox>"],
    ]
    with pytest.raises(ValueError, match="row 2: a turn shows video without a caption"):
        ConversationSource(samples / "t2m.json")[2]
    with pytest.raises(ValueError, match="row 3 is none that ConversationSource reads"):
        ConversationSource(samples / "t2m.json")[3]


def test_a_repack_sends_its_file_once(samples: Path) -> None:
    """Two known faults of the files are read as meant: a clip called `image_name`, and a file called 00000000000."""
    source = feed("llava", {"type": "llava", "path": str(samples / "llava_repacked.json")}).source
    assert [shapes(message) for message in source[0]["messages"]] == [
        ["<image fox.png ->", "Which colour is the fox?"],
        ["It is red."],
        ["Is there snow?"],
        ["Yes."],
    ]
    assert shapes(source[1]["messages"][0]) == ["<image fox.png ->", "And here?"]
    with pytest.raises(ValueError, match="row 2: a turn takes image, but no file is left; 0 are named"):
        source[2]
    clip = VideoChatSource(samples / "videochat_repacked.json")[0]["messages"][0]["content"][0]
    assert clip == {"type": "video", "path": str(samples / "000001_000050/waves.mp4")}
    assert len(AlpacaSource(samples / "alpaca_repacked.json")[0]["messages"]) == 2
    with pytest.raises(ValueError, match="row 1: 1 files are named, but the turns take 0"):
        AlpacaSource(samples / "alpaca_repacked.json")[1]


def test_mosit_media_stand_where_they_are_named(samples: Path) -> None:
    """Several media in and out, anywhere in the turns; a description that is no file is dropped."""
    record = MositSource(samples / "mosit.json")[0]
    assert [shapes(message) for message in record["messages"]] == [
        ["Foxes and dogs are kin. Show me the first?"],
        ["They are.", "<image fox.png a red fox>", "And here are two:", "<image fox2.png two foxes>"],
        [
            "What does this one say?",
            "<audio dog.wav a dog barks>",
            "It lives by the sea.",
            "<video waves.mp4 waves on a beach>",
        ],
        ["It barks. Like this:", "<audio dog.wav a dog barks>"],
    ]
    with pytest.raises(ValueError, match=r"<Image>cow.png</Image> stands for cow.png, which image_list lacks"):
        MositSource(samples / "mosit.json")[1]


def test_a_bare_tag_takes_the_next_of_its_list(tmp_path: Path) -> None:
    listed = [{"image_name": f"{name}.png", "caption": name} for name in "ab"]
    turns = [{"from": "human", "value": "Two?"}, {"from": "gpt", "value": "<image> and <image>"}]
    source = MositSource(written(tmp_path, {"image_list": listed, "conversation": turns}))
    assert shapes(source[0]["messages"][1]) == ["<image a.png a>", "and", "<image b.png b>"]


def test_names_may_have_spaces(tmp_path: Path) -> None:
    """Listed ones are found however their words are spaced; those that no list has are told, not passed over."""
    listed = {"image_list": [{"image_name": "a red  fox (1).png", "caption": "a fox"}]}
    turns = [
        {"from": "human", "value": "What is <Image> a red fox (1).png </Image>?"},
        {"from": "gpt", "value": "A fox: <Image>a red\nfox (1).png</Image>"},
    ]
    lost = [turns[0], {"from": "gpt", "value": "Here: <Image>my best cow.jpeg</Image>"}]
    told = [{"from": "human", "value": "And <Audio>a low sound at 3.30</Audio>?"}, turns[1]]
    rows = [listed | {"conversation": conversation} for conversation in (turns, lost, told)]
    source = MositSource(written(tmp_path, *rows))
    assert [shapes(message) for message in source[0]["messages"]] == [
        ["What is", "<image a red  fox (1).png a fox>", "?"],
        ["A fox:", "<image a red  fox (1).png a fox>"],
    ]
    with pytest.raises(ValueError, match=r"row 1: .* stands for my best cow.jpeg, which image_list lacks"):
        source[1]
    with pytest.raises(ValueError, match=r"row 2: .* stands for a low sound at 3.30, which audio_list lacks"):
        source[2]
    tally = Tally()
    assert len(list(records_of(source, tally, check=False))) == 1
    assert (tally.read, tally.skipped, tally.dropped) == (3, 2, 0)


def test_what_is_dropped_is_counted(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An assistant's description that is no file: in the record, in the tally, in what `anyx data` says."""
    tag = "<audio>a hint of the sea is heard</audio>"
    assert MositSource(samples / "mosit.json")[0]["dropped"] == [tag]
    with pytest.raises(SystemExit) as ended:
        main(["data", "convert", "mosit", str(samples / "mosit.json"), str(tmp_path / "out.jsonl"), "--no-check"])
    assert ended.value.code == 0
    assert "1 marks name no file and were left out" in capsys.readouterr().out
    assert JSONLSource(tmp_path / "out.jsonl")[0]["dropped"] == [tag]


def test_version_two_keeps_inputs_and_outputs_apart(samples: Path) -> None:
    """Where the reference lets `output_image` overwrite the input (B6.2 of the facts)."""
    source = MarkedSource(samples / "nextgpt_v2.json")
    assert [shapes(message) for message in source[0]["messages"]] == [
        ["<image fox.png ->", "Compare with", "<image fox2.png ->", ", then draw the redder one."],
        ["This one:", "<image fox.png a red fox>"],
        ["And its cousin, by ear?"],
        ["<audio dog.wav a dog barks>", "Its cousin barks."],
    ]
    assert shapes(source[1]["messages"][1]) == ["With pleasure.", "<video - waves on a beach>"]
    for index, message in (
        (2, "0 marks <image> but 1 files in input_image"),
        (3, "1 marks <image> but 0 files in input_image"),
        (4, "1 marks <image> but image_captions are"),
        (5, "image_captions are given, but no mark <image> stands in the text"),
        (6, "1 marks <image> but 0 files in input_image"),
    ):
        with pytest.raises(ValueError, match=f"row {index}: {message}"):
            source[index]


def test_questions_about_clips_and_requests_in_words(samples: Path) -> None:
    record = VideoChatSource(samples / "videochat.json", root="/webvid", flat=True)[0]
    assert [shapes(message) for message in record["messages"]] == [
        ["<video waves.mp4 ->", "Answer briefly. What moves?"],
        ["Waves."],
        ["Where?"],
        ["On a beach."],
    ]
    assert record["messages"][0]["content"][0]["path"] == "/webvid/waves.mp4"
    with pytest.raises(ValueError, match="row 1: it has no question"):
        VideoChatSource(samples / "videochat.json")[1]
    assert shapes(AlpacaSource(samples / "alpaca.json")[0]["messages"][0]) == ["Name the capital.\nNorway"]
    with pytest.raises(ValueError, match="row 2: the turn of assistant is empty"):
        AlpacaSource(samples / "alpaca.json")[2]


def test_rows_stay_as_written_until_asked_for(tmp_path: Path) -> None:
    text = ' [ {"a": "]}, {"} ,\n{"b":[1,{"c":2}]},3 ] \n'
    (tmp_path / "rows.json").write_text(text)
    assert read_rows(tmp_path / "rows.json") == [b'{"a": "]}, {"}', b'{"b":[1,{"c":2}]}', b"3"]
    assert list(items("]", 0)) == []
    for broken in ("[1,]", "[1 2]", "[1", "[1] 2", "[", '[{"a"]'):
        (tmp_path / "rows.json").write_text(broken)
        with pytest.raises(ValueError, match=r"rows\.json cannot be read"):
            read_rows(tmp_path / "rows.json")


def test_captions_are_encoded_once_whatever_file_they_are_in(samples: Path, tmp_path: Path) -> None:
    """Nothing is prepared beforehand: a caption is known by its content, in a file of tensors for many."""
    nodes = {name: {"type": name, "path": str(samples / f"{name}.json")} for name in ("t2m", "mosit", "nextgpt_v2")}
    nodes["pairs"] = {"type": "nextgpt_pairs", "path": str(samples / "cc3m.json"), "direction": "out"}
    feeds = [feed(name, node) for name, node in nodes.items()]
    text = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    teacher = StableDiffusionDecoder(
        **components.TINY["decoders"]["stable_diffusion"][0], text=text, tokenizer={"words": ["fox", "red", "two"]}
    )
    ran: list[int] = []
    teacher.text_parts()[0].register_forward_hook(lambda *_: ran.append(1))
    model, cache = tiny.anyx(), FeatureCache(tmp_path)
    model.outputs["image"].decoder = teacher
    losses = {"caption": {"keys": ["image"]}}
    stage = Stage("decode", train={"outputs.*.projector": 1e-3}, losses=losses, data={"t2m": 1}, steps=1)
    reader = make_reader(Trainee(model, stage, 1), feeds, cache, {})
    fill(model, reader, feeds, cache)
    captions = {"a red fox", "two foxes", *(feeds[3].source[i]["messages"][0]["content"] for i in (0, 1, 5))}
    assert len(cache) == len(captions) + 3  # and what users send: two pictures and a sound, each file once too
    assert all(digest(reader.teachers["image"], caption) in cache for caption in captions)
    assert len(ran) == 1
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".sqlite"}
    assert not list(samples.rglob("*.npy"))
    fill(model, reader, feeds, FeatureCache(tmp_path))
    assert len(ran) == 1
    batch = reader.collate([reader.read(feeds[0].source[1], feeds[0], 0)])
    found = batch.teachers["image"]
    assert found.rows.tolist() == [0]
    expected = teacher.encode_text(["a red fox"]).values["prompt_embeds"]
    torch.testing.assert_close(found.values["values.prompt_embeds"], expected)
