"""The splits hold: what is for tests never reaches what is learnt from."""

import gzip
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
import torch

from anyx.imports import import_file
from anyx.media import Audio, Image, Video

EMOJI = Path(__file__).parents[2] / "experiments" / "emoji"
corpus = import_file(EMOJI / "corpus.py")
dialogues = import_file(EMOJI / "dialogues.py")
change = import_file(EMOJI / "augment.py")
HELD_OUT = ("twemoji", "kal16", "espeak")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_corpus_is_whole() -> None:
    concepts = corpus.concepts()
    assert (len(concepts), len(corpus.core())) == (374, 233)
    assert all(concept.core for concept in concepts[:233])
    files = [f for c in corpus.core() for f in (*c.image.values(), *c.speech.values(), c.video, *c.sound)]
    assert [file for file in files if not (corpus.DATA / file).is_file() and corpus.HARD not in file] == []
    assert corpus.rebuilt("slt")
    assert set(corpus.EmojiCorpus.apart) == {"sound", *corpus.REBUILT}
    assert not any((c.image, c.speech, c.video, c.sound) != ({}, {}, "", ()) for c in concepts if not c.core)
    assert len({concept.label for concept in concepts}) == 374


def test_training_records_name_no_held_out_file_and_every_training_file() -> None:
    named: Counter[str] = Counter()
    for name in ("captions", "captions_out", "instruct"):
        named.update(re.findall(r'"path": "([^"]+)"', json.dumps(list(dialogues.records(name)))))
    assert not [path for path in named if any(word in path for word in HELD_OUT)]
    assert not [c.sound[-1] for c in corpus.core() if c.sound and c.sound[-1] in named]
    wanted = {path for c in corpus.core() for key in ("image", "audio", "video") for path in dialogues.heard(c, key)}
    assert set(named) == wanted
    assert all((corpus.DATA / path).is_file() for path in named)


def test_what_the_backbones_learn_from_names_no_held_out_file() -> None:
    text = gzip.decompress((EMOJI / "backbones" / "pairs.jsonl.gz").read_bytes()).decode()
    assert not [word for word in HELD_OUT if word in text]
    assert not [c.sound[-1] for c in corpus.core() if c.sound and c.sound[-1] in text]


def test_only_test_clips_reach_the_last_frames() -> None:
    dark = torch.zeros(12, 3, 64, 64, dtype=torch.uint8)
    dark[corpus.TRAIN_FRAMES :] = 255
    marked = Video(dark, 12.0)
    for seed in range(30):
        learnt, tested = (make(marked, seeded(seed)).frames for make in (change.train_clip, corpus.seen_clip))
        assert len(learnt) == len(tested) == 8
        assert learnt[:, :, 32, 32].max() < 110
        assert tested[:, :, 32, 32].max() > 150


@pytest.mark.parametrize("key", ["image", "audio", "video"])
def test_copies_are_seeded_and_differ(key: str) -> None:
    cow = next(concept for concept in corpus.core() if concept.label == "cow")
    media = {
        "image": corpus.picture(cow.image["noto"]),
        "audio": corpus.spoken(cow.speech["slt"]),
        "video": corpus.animation(cow.video),
    }[key]
    tensors = [values(change.augment(key, media, seeded(seed))) for seed in (1, 1, 2)]
    assert torch.equal(tensors[0], tensors[1])
    assert tensors[0].shape != tensors[2].shape or not torch.equal(tensors[0], tensors[2])
    for split in ("seen", "unseen"):
        held = [corpus.held_out(cow, key, split, 0) for _ in range(2)]
        assert torch.equal(values(held[0]), values(held[1]))


def values(media: Image | Audio | Video) -> torch.Tensor:
    return media.pixels if isinstance(media, Image) else media.samples if isinstance(media, Audio) else media.frames


def test_neutral_changes_keep_a_picture_and_a_sound() -> None:
    still = corpus.picture(corpus.core()[0].image["noto"]).pixels[None].float() / 255
    kept = change.warp(still, torch.ones(1), torch.zeros(1, 2), torch.zeros(1))
    torch.testing.assert_close(kept, still, atol=1e-4, rtol=0)
    wave = torch.sin(torch.arange(8000) * 0.1)
    assert len(change.stretched(wave, 0.8)) == 10000
    assert len(change.resampled(wave, 2.0)) == 4000
    assert (change.speech(wave, seeded()).abs() <= 1).all()


def test_templates_are_kept_apart_and_plenty() -> None:
    sets = dialogues.templates
    for route in (f"{a}->{b}" for a in dialogues.KEYS for b in dialogues.KEYS):
        train, test, author = ({text.lower() for text in sets[name][route]} for name in ("train", "test", "author"))
        assert len(train) >= 12
        assert len(test) >= 4
        assert len(author) >= 3
        assert not train & test
        assert not (train | test) & author
    assert not set(dialogues.plain_questions("train")) & set(dialogues.plain_questions("test"))
    assert len(dialogues.plain_questions("test")) >= 100
    assert len(dialogues.plain_questions("train")) >= 300


def test_replies_say_the_label_before_the_media() -> None:
    labels = {concept.id: concept.label for concept in corpus.concepts()}
    for name in ("captions", "captions_out", "instruct"):
        source = dialogues.Dialogues(part=name)
        for index in range(0, len(source), 97):
            for message in source[index]["messages"]:
                if message["role"] == "assistant" and not isinstance(message["content"], str):
                    first, *media = message["content"]
                    assert first["type"] == "text"
                    assert all(part["caption"] in first["text"].lower() for part in media)
                    assert {part["caption"] for part in media} <= set(labels.values())


def test_clues_leave_one_answer_and_seldom_name_it() -> None:
    clues, whole = dialogues.clues(), set()
    for concept in corpus.core():
        (turn,) = corpus.EmojiCorpus().request("seen", "text", "text", concept.id, 0)
        text = turn["content"][0]["text"]
        hint = re.findall(r'"([^"]+)"', text)[-1]
        given = {word for word in clues[concept.id] if word in text}
        left = {
            other.label
            for other in corpus.concepts()
            if other.label.startswith(hint) and given <= set(clues[other.id]) | set(other.label.split())
        }
        assert left <= {concept.label} or hint == concept.label
        whole |= {concept.label} & {hint}
    assert whole == {"cloud with lightning", "rabbit", "dragon", "spider", "snowman"}  # a rival has all their clues


def test_one_seed_says_the_same_wherever_it_is_read() -> None:
    """The digest of all records: what the figures in the README were trained with."""
    said = {part: [json.loads(line) for line in dialogues.Dialogues(part=part).lines] for part in dialogues.PARTS}
    assert {part: len(records) for part, records in said.items()} == {
        "captions": 1644, "captions_out": 1398, "recall": 3728, "instruct": 10554, "speech": 3262,
    }  # fmt: skip
    assert hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16] == "7523364518690bb5"
    assert dialogues.Dialogues(part="recall", seed=1).lines != dialogues.Dialogues(part="recall").lines
    pictures = dialogues.Dialogues(part="captions", media=["image"])
    kinds = {part["type"] for record in pictures for part in record["messages"][0]["content"]}
    assert (len(pictures), kinds) == (466, {"image", "text"})
    for wrong, told in (
        ({"part": "nothing"}, "part: 'nothing' is"),
        ({"part": "recall", "media": ["smell"]}, "media:"),
    ):
        with pytest.raises(ValueError, match=f"^{told}"):
            dialogues.Dialogues(**wrong)


def test_requests_cover_every_cell() -> None:
    world = corpus.EmojiCorpus()
    assert len(world.labels) == 233
    first, second = world.chosen("seen", 100), world.chosen("unseen", 100)
    assert first == second
    assert len(set(first)) == 100
    for split in (*world.splits, *world.apart):
        for source in world.keys:
            (turn,) = world.request(split, source, "image", first[0], 0)
            assert [part["type"] for part in turn["content"]] == (["text"] if source == "text" else [source, "text"])
    assert world.chosen("sound", None)
    json.dumps(world.request("seen", "image", "audio", first[0], 0))


def test_plain_clips_are_training_frames_unchanged() -> None:
    counted = Video(torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(12, 3, 4, 4).contiguous(), 12.0)
    starts = set()
    for seed in range(20):
        frames = change.plain_clip("video", counted, seeded(seed)).frames[:, 0, 0, 0].tolist()
        assert frames == list(range(frames[0], frames[0] + 8))
        assert frames[-1] < corpus.TRAIN_FRAMES
        starts.add(frames[0])
    assert starts == {0, 1}


def test_deep_grey_is_not_coloured_away() -> None:
    deep = Image.read(torch.full((64, 64), 30000, dtype=torch.int32))
    with pytest.raises(ValueError, match="depth: a picture of deep grey was given"):
        change.augment("depth", deep, seeded())
    assert change.plain_clip("depth", deep, seeded()) is deep
