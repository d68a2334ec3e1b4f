"""Readers of dialogues and pairs: cached tokens, latents, teachers, captions, augmented copies."""

from pathlib import Path

import pytest
import tiny
import torch

from anyx.data.cache import FeatureCache
from anyx.data.dialogues import DialogueReader
from anyx.data.digests import digest
from anyx.data.features import augmented, feature_digest
from anyx.data.pairs import PairReader
from anyx.data.sources import Feed, Record
from anyx.media import Audio, Image
from anyx.processor import source_of


def shift(key: str, media: Image, generator: torch.Generator) -> Image:
    return Image(torch.randint(0, 256, media.pixels.shape, generator=generator, dtype=torch.uint8))


def picture(level: int) -> Image:
    return Image(torch.full((3, 4, 4), level, dtype=torch.uint8))


def record(level: int = 10, caption: str = "a fox") -> Record:
    ask = [{"type": "text", "text": "Draw:"}, {"type": "image", "media": picture(level), "caption": caption}]
    answer = [{"type": "text", "text": "Here: "}, {"type": "image", "media": picture(level + 1), "caption": caption}]
    return {"id": "r", "messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}


def text_record() -> Record:
    return {"id": "t", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


FEED = Feed("feed", [])


def test_a_cut_record_keeps_captions_and_latents_of_what_is_left() -> None:
    model = tiny.anyx()
    whole = DialogueReader(model.processor, caption_ids=True).read(record(), FEED, 0)
    model.processor.max_length = whole.sample.targets[0].position + 1
    reader = DialogueReader(model.processor, caption_ids=True)
    sample = reader.read(record(), FEED, 0)
    assert (len(sample.sample.targets), sample.latents, sample.captions) == (0, [], ["a fox"])
    assert reader.collate([sample, whole]).batch.targets["image"].rows.tolist() == [1]
    model.processor.max_length = 2
    with pytest.raises(ValueError, match="max_length: the assistant says nothing within the first 2 ids"):
        DialogueReader(model.processor).read(record(), FEED, 0)


def test_cached_tokens_stand_in_for_media(tmp_path: Path) -> None:
    cache, model = FeatureCache(tmp_path), tiny.anyx()
    reader = DialogueReader(model.processor, cache, encoders={"image": "eye"})
    (item,) = reader.wanted(record(), FEED)
    assert (item.key, item.maker, item.digest) == ("image", "eye", feature_digest("eye", picture(10), FEED, 0))
    fresh = reader.collate([reader.read(record(), FEED, 0)])
    assert fresh.batch.inputs["image"].tokens is None
    cache.put({item.digest: {"values": torch.ones(3, 6), "mask": torch.ones(3, dtype=torch.bool)}})
    batch = reader.collate([reader.read(record(), FEED, 0), reader.read(text_record(), FEED, 0)]).batch
    tokens = batch.inputs["image"].tokens
    assert tokens is not None
    assert tokens.values.shape == (1, 3, 6)
    assert batch.inputs["image"].tensors == {}


def test_latents_and_teachers_are_looked_up(tmp_path: Path) -> None:
    cache, model = FeatureCache(tmp_path), tiny.anyx()
    model.processor.targets_media = True
    reader = DialogueReader(model.processor, cache, latents={"image": "vae"}, teachers={"image": "clip"})
    (item,) = reader.wanted(record(), FEED)
    assert list(reader.captions_of(record())) == [("image", "a fox")]
    cache.put({item.digest: {"latents": torch.full((2, 2), 3.0)}, digest("clip", "a fox"): {"values.p": torch.ones(4)}})
    plain = {"id": "u", "messages": record(50, "")["messages"]}
    batch = reader.collate([reader.read(item, FEED, 0) for item in (plain, text_record(), record())])
    assert batch.batch.targets["image"].captions == ["", "a fox"]
    assert [medium is None for medium in batch.batch.targets["image"].media] == [False, True]
    assert batch.latents["image"].rows.tolist() == [1]
    assert batch.latents["image"].values["latents"].shape == (1, 2, 2)
    assert batch.teachers["image"].rows.tolist() == [1]
    assert batch.to("cpu").teachers["image"].values["values.p"].shape == (1, 4)


def test_a_medium_in_hand_stands_before_its_path() -> None:
    medium = picture(1)
    assert source_of({"type": "image", "image": "c.png", "path": "a.png", "media": medium}) is medium
    assert source_of({"type": "image", "image": "c.png", "path": "a.png", "media": None}) == "a.png"
    assert source_of({"type": "image", "image": "c.png"}) == "c.png"
    assert source_of({"type": "image", "caption": "a fox"}) is None


def test_caption_ids_are_those_of_words_in_a_sentence() -> None:
    reader = DialogueReader(tiny.anyx().processor, caption_ids=True)
    assert reader.processor.prompt.tokenizer.decode(reader.ids("red fox")) == " red fox"


def test_caption_ids_follow_the_order_of_media() -> None:
    reader = DialogueReader(tiny.anyx().processor, caption_ids=True)
    batch = reader.collate([reader.read(record(caption=text), FEED, 0) for text in ("a fox", "", "a red fox, please")])
    ids = batch.captions["image"]
    assert ids.shape[0] == 3
    assert ids[1].tolist() == [-1] * ids.shape[1]
    assert reader.processor.prompt.tokenizer.decode(ids[2][ids[2] >= 0]) == " a red fox, please"
    counts = batch.to("cpu").batch.inputs["image"].counts  # what a projector that decides how many is told
    assert counts is not None
    assert counts.tolist() == [int((row >= 0).sum()) for row in ids]
    assert counts[1] == 0
    silent = DialogueReader(tiny.anyx().processor)
    assert silent.collate([silent.read(record(), FEED, 0)]).batch.inputs["image"].counts is None


def test_augmented_copies_depend_on_variant_and_media_alone() -> None:
    reader = DialogueReader(tiny.anyx().processor)
    feed = Feed("feed", [], shift, 3)

    def numbers(level: int, variant: int) -> list[float]:
        batch = reader.collate([reader.read(record(level), feed, variant)]).batch
        return batch.inputs["image"].tensors["numbers"].flatten().tolist()

    assert numbers(10, 1) == numbers(10, 1)
    assert numbers(10, 1) != numbers(10, 2)
    assert numbers(10, 1) != numbers(90, 1)
    maker = DialogueReader(tiny.anyx().processor, encoders={"image": "eye"})
    assert len({item.digest for item in maker.wanted(record(), feed)}) == 3


def test_targets_are_augmented_as_the_cached_ones_are() -> None:
    """A loss reads the same media whether their latents were computed before or not."""
    given = tiny.anyx().processor
    given.targets_media = True
    reader = DialogueReader(given, latents={"image": "vae"})
    feed = Feed("feed", [], shift, 3)
    (target,) = reader.collate([reader.read(record(), feed, 1)]).batch.targets["image"].media
    (job,) = [item for item in reader.wanted(record(), feed) if item.variant == 1]
    assert torch.equal(target.pixels, augmented(feed, "image", job.source, 1).pixels)
    assert not torch.equal(target.pixels, picture(11).pixels)


def test_pairs_gather_keys_that_only_some_records_have(tmp_path: Path) -> None:
    sound = Audio(torch.zeros(1, 16), 8000)
    transforms = {"image": tiny.numbers, "caption": lambda text: {"ids": torch.tensor([len(text)])}}
    reader = PairReader({"image": Image, "audio": Audio}, transforms)
    records = [
        {"id": 0, "media": {"image": picture(1), "audio": sound}, "caption": "one"},
        {"id": 1, "media": {"audio": sound}, "caption": "three"},
        record() | {"id": 2},
    ]
    batch = reader.collate([reader.read(item, FEED, 0) for item in records])
    assert {key: rows.tolist() for key, rows in batch.rows.items()} == {
        "audio": [0, 1],
        "image": [0, 2],
        "caption": [0, 1, 2],
    }
    assert batch.tensors["image"]["numbers"].shape == (2, 4)
    assert batch.tensors["caption"]["ids"].flatten().tolist() == [3, 5, 5]
    assert batch.captions == ["one", "three", "a fox"]
    with pytest.raises(ValueError, match=r"media \['video'\]; this stage reads \['audio', 'image'\]"):
        reader.read({"id": 3, "media": {"video": sound}}, FEED, 0)


def test_pairs_of_cached_latents_are_not_read(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    reader = PairReader({"image": Image}, {}, cache, latents={"image": "vae"}, teachers={"image": "clip"})
    feed = Feed("feed", [], variants=2)
    pair = {"id": 0, "media": {"image": [picture(1), picture(2)]}, "caption": "x"}
    wanted = list(reader.wanted(pair, feed))
    assert len(wanted) == 2
    cache.put({item.digest: {"latents": torch.full((2,), float(item.variant))} for item in wanted})
    cache.put({digest("clip", "x"): {"values.p": torch.ones(4)}})
    batch = reader.collate([reader.read(pair, feed, variant) for variant in (1, 0)])
    assert batch.media["image"] == [None, None]
    assert batch.latents["image"].values["latents"][:, 0].tolist() == [1.0, 0.0]
    assert batch.teachers["image"].rows.tolist() == [0, 1]
