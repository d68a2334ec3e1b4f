"""Dialogues made of captions: every kind of the shipped templates, seeds, what is shown and sent, bad templates."""

import random
from collections import Counter
from pathlib import Path

import pytest
import tiny

from anyx.data.builder import Templates, dialogue, made_of
from anyx.data.native import Tally, route_of
from anyx.data.sources import Record
from anyx.prompt import Prompt, parts_of

SHIPPED = Templates.read()
KEYS = ("image", "audio", "video")


def pair(key: str = "image", caption: str = "a red fox sleeps in deep snow.") -> Record:
    return {"id": "p", "media": {key: f"/{key}.x"}, "caption": caption}


def media(record: Record, role: str) -> list[dict[str, str]]:
    parts = [part for message in record["messages"] if message["role"] == role for part in parts_of(message)]
    return [dict(part) for part in parts if part["type"] != "text"]


@pytest.mark.parametrize("kind", SHIPPED.kinds)
@pytest.mark.parametrize("key", KEYS)
def test_every_kind_is_a_conversation_of_its_route(kind: str, key: str) -> None:
    """All its ways come up, all can be encoded, and no mark is left in the words."""
    only, prompt = SHIPPED.only([kind], []), Prompt(tiny.tokenizer(), "chatml", KEYS, dict.fromkeys(KEYS, (900, 901)))
    wanted, said = SHIPPED.kinds[kind].media, set()
    for seed in range(60):
        made = dialogue(pair(key), only, random.Random(seed))
        encoded = prompt.encode(made["messages"])
        assert [message["role"] for message in made["messages"]] == ["user", "assistant"] * (len(made["messages"]) // 2)
        assert len(encoded.media) == wanted.count("in")
        assert len(encoded.groups) == wanted.count("out") + wanted.count("next")
        assert all(
            part == {"type": key, "caption": part["caption"], "path": f"/{key}.x"} for part in media(made, "user")
        )
        assert {part["caption"] for part in media(made, "assistant")} <= {"a red fox sleeps in deep snow"}
        texts = [part["text"] for message in made["messages"] for part in parts_of(message) if part["type"] == "text"]
        assert not any("{" in text or "  " in text for text in texts)
        said.add(str(made["messages"]))
    assert len(said) > 3 or kind == "write_of_keywords"


def test_the_pairs_own_file_is_the_target_unless_it_was_sent() -> None:
    shown = {
        kind: media(dialogue(pair(), SHIPPED.only([kind], []), random.Random(3)), "assistant") for kind in SHIPPED.kinds
    }
    assert shown["make"][0]["path"] == "/image.x"
    assert shown["make_then_again"][0]["path"] == "/image.x"
    assert shown["make_then_again"][1]["type"] != "image"
    assert "path" not in shown["make_then_again"][1]
    for seed in range(20):
        (part,) = media(dialogue(pair(), SHIPPED.only(["turn_into"], ["image"]), random.Random(seed)), "assistant")
        assert part == {"type": "image", "caption": "a red fox sleeps in deep snow"}


def test_one_seed_one_file() -> None:
    pairs = [pair(key, caption) for key in KEYS for caption in ("a red fox", "two dogs run on grass", "rain")] * 20

    def made(seed: int) -> list[Record]:
        return list(made_of(iter(pairs), SHIPPED, Tally(), seed=seed, copies=2))

    assert made(1) == made(1)
    assert made(1) != made(2)
    assert len(made(1)) == 2 * len(pairs)
    routes = Counter(route_of(record) for record in made(1))
    assert {"image+text -> text", "audio+text -> text", "text+video -> text"} <= routes.keys()  # in -> text
    assert {"text -> image+text", "text -> audio+text", "text -> text+video"} <= routes.keys()  # text -> out
    assert {"image+text -> audio+text", "audio+text -> image+text", "text -> text"} <= routes.keys()  # in -> out


def test_what_may_be_asked_for_can_be_narrowed() -> None:
    only = SHIPPED.only([], ["audio"])
    made = list(made_of(iter([pair()] * 60), only, Tally()))
    assert {part["type"] for record in made for part in media(record, "assistant")} == {"audio"}
    assert not any("again" in record["id"] for record in made), "another kind cannot be asked for"
    with pytest.raises(ValueError, match="kinds: 'paint' is not one of describe, make"):
        SHIPPED.only(["paint"], [])
    with pytest.raises(ValueError, match="outputs: 'smell' is not one of image, audio, video"):
        SHIPPED.only([], ["smell"])


def test_keywords_are_words_of_the_caption_in_any_order() -> None:
    drawn = [SHIPPED.keywords("The red fox and the dog are on the snow", random.Random(seed)) for seed in range(9)]
    assert {frozenset(words) for words in drawn} == {frozenset(("red", "fox", "dog", "snow"))}
    assert len({tuple(words) for words in drawn}) > 1
    assert SHIPPED.keywords("the rain is on", random.Random(0)) == []


def test_a_pair_that_gives_nothing_is_counted() -> None:
    tally = Tally()
    bad = [pair(caption=" . "), {"id": "d", "media": {"depth": "/d"}, "caption": "far"}, pair()]
    assert len(list(made_of(iter(bad), SHIPPED, tally))) == 1
    assert tally.skipped == 2
    with pytest.raises(ValueError, match="p: a pair needs a caption and a medium of image, audio, video"):
        list(made_of(iter(bad), SHIPPED, Tally(), strict=True))


def test_a_further_kind_of_media_is_lines_of_a_yaml(tmp_path: Path) -> None:
    """And templates in another tongue are another file."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "words: {depth: {name: Tiefenbild}, image: {name: [Bild]}}\n"
        'dialogues: {d: {turns: ["{in} Male das {in.Name} als {out.name}.", ["{caption}: {out}"]]}}\n'
    )
    made = dialogue(pair("depth", "ein Haus"), Templates.read(file).only([], ["image"]), random.Random(0))
    assert made["messages"][0]["content"] == [
        {"type": "depth", "caption": "ein Haus", "path": "/depth.x"},
        {"type": "text", "text": "Male das Tiefenbild als Bild."},
    ]
    assert made["messages"][1]["content"][1] == {"type": "image", "caption": "ein Haus"}


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ('["{in} What?"]', "dialogues.d: its last turn is not the assistant's"),
        ('["{out}", "{caption}"]', "turn 1: {out} stands in a turn of the user"),
        ('["Hi.", "{in}"]', "turn 2: {in} stands in a turn of the assistant"),
        ('[["{in} What?", "What?"], "{caption}"]', "turn 1: its ways hold different media"),
        ('["{in} {captoin}?", "{caption}"]', "turn 1: {captoin} is none of caption, Caption, keywords"),
        ('["A {out.name}!", "{caption}"]', "turn 1: {out.name} is none of caption, Caption, keywords or a word"),
        ('["{in} A {in.size}?", "{caption}"]', "turn 1: {in.size}: words.image.size is missing"),
        ('["{in} {in}", "{caption}"]', "a medium stands in it twice"),
        ('["Hi.", "{next}"]', "{next} is another one than {out}, which is missing"),
    ],
)
def test_a_bad_template_is_named(tmp_path: Path, turns: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(f"word: 1\nwords: {{image: {{name: [picture]}}}}\ndialogues: {{d: {{turns: {turns}}}}}\n")
    with pytest.raises(ValueError, match=r"bad\.yaml: word: is not one of words, keywords, dialogues") as error:
        Templates.read(file)
    assert message in str(error.value)


def test_a_file_of_another_shape_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("dialogues: {d: {turns: [x, y]}}\n")
    with pytest.raises(ValueError, match=r"bad\.yaml: it has not the shape of templates: KeyError\('words'\)"):
        Templates.read(file)
