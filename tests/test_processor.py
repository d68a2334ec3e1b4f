from __future__ import annotations

import pickle

import pytest
import tiny
import torch

from anyx.interfaces import Tokens
from anyx.media import Audio, Image, MediaError
from anyx.processor import Processor, concatenate, stack
from anyx.prompt import IGNORE, PLACEHOLDER, Prompt

TOKENIZER = tiny.tokenizer()
GROUPS = {"image": (400, 401), "audio": (402,)}


def mean_pixels(image: Image) -> dict[str, torch.Tensor]:
    return {"pixels": image.pixels.float().mean((1, 2))}


def raw_samples(audio: Audio) -> dict[str, torch.Tensor]:
    return {"samples": audio.samples[0]}


def processor(**changes: object) -> Processor:
    prompt = Prompt(TOKENIZER, "chatml", ["image", "audio"], GROUPS)
    settings: dict[str, object] = {
        "transforms": {"image": mean_pixels, "audio": raw_samples},
        "kinds": {"image": Image, "audio": Audio},
    }
    return Processor(prompt, **(settings | changes))  # type: ignore[arg-type]


def picture(level: int) -> Image:
    return Image(torch.full((3, 4, 4), level, dtype=torch.uint8))


def sound(length: int) -> Audio:
    return Audio(torch.ones(1, length), 16000)


def say(*parts: object, role: str = "user") -> dict[str, object]:
    content = [part if isinstance(part, dict) else {"type": "text", "text": part} for part in parts]
    return {"role": role, "content": content}


def image(level: int) -> dict[str, object]:
    return {"type": "image", "image": picture(level)}


MIXED = [
    [say(image(1), "and", image(2)), say("No.", role="assistant")],
    [say("only words"), say("Yes.", role="assistant")],
    [say({"type": "audio", "media": sound(5)}, image(3)), say(image(9) | {"caption": "fox"}, role="assistant")],
    [say({"type": "audio", "media": sound(7)}), say("Ah", {"type": "audio"}, {"type": "image"}, role="assistant")],
]  # fmt: skip


@pytest.mark.parametrize("generate", [False, True])
def test_media_are_gathered_by_key_and_point_at_their_placeholders(generate: bool) -> None:
    make = processor()
    batch = make.collate([make(chat) for chat in MIXED], generate=generate)
    assert batch.inputs["image"].rows.tolist() == [0, 0, 2]
    assert batch.inputs["image"].tensors["pixels"][:, 0].tolist() == [1, 2, 3]
    assert batch.inputs["audio"].rows.tolist() == [2, 3]
    assert batch.inputs["audio"].tensors["samples"].shape == (2, 7)
    assert batch.inputs["audio"].tensors["samples_mask"].sum(1).tolist() == [5, 7]
    places = [(media.rows, media.positions) for media in batch.inputs.values()]
    assert all((batch.ids[place] == PLACEHOLDER).all() for place in places)
    assert int((batch.ids == PLACEHOLDER).sum()) == sum(len(rows) for rows, _ in places)
    for key, target in batch.targets.items():
        assert batch.ids[target.rows, target.positions].tolist() == [GROUPS[key][0]] * len(target.rows)
    assert batch.targets["image"].captions == ["fox", None]
    assert batch.targets["image"].media == [None, None]
    edge = batch.mask[:, -1] if generate else batch.mask[:, 0]
    assert edge.all()
    assert (batch.labels[~batch.mask] == IGNORE).all()


def test_padding_side_keeps_rows() -> None:
    make = processor()
    samples = [make(chat) for chat in MIXED]
    left, right = make.collate(samples, generate=True), make.collate(samples)
    for row in range(len(samples)):
        assert left.ids[row, left.mask[row]].tolist() == right.ids[row, right.mask[row]].tolist() == samples[row].ids
        assert left.labels[row, left.mask[row]].tolist() == samples[row].labels


def test_target_media_are_read_when_wanted() -> None:
    make = processor(targets_media=True)
    media = make.collate([make(MIXED[2])]).targets["image"].media
    assert isinstance(media[0], Image)
    assert int(media[0].pixels[0, 0, 0]) == 9
    assert make(MIXED[3]).targets[0].medium is None


def test_cached_features_take_the_place_of_files() -> None:
    def features(key: str, part: dict[str, object]) -> Tokens:
        return Tokens.full(torch.ones(1, int(str(part["path"])), 6))

    make = processor(features=features, transforms={})
    chats = [[say({"type": "image", "path": "2"})], [say("x", {"type": "image", "path": "3"})]]
    batch = make.collate([make(chat) for chat in chats])
    tokens = batch.inputs["image"].tokens
    assert batch.inputs["image"].tensors == {}
    assert tokens is not None
    assert tokens.values.shape == (2, 3, 6)
    assert tokens.mask.sum(1).tolist() == [2, 3]


def test_half_a_cache_is_refused() -> None:
    cached = Tokens.full(torch.ones(1, 1, 6))
    make = processor(features=lambda key, part: cached if part.get("path") else None)
    samples = [make([say({"type": "image", "path": "a"})]), make([say(image(1))])]
    with pytest.raises(ValueError, match="1 of 2 media have cached features"):
        make.collate(samples)


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"inputs.image: no encoder is loaded to read it \(loaded: audio\)"):
        processor(transforms={"audio": raw_samples})([say(image(1))])
    with pytest.raises(ValueError, match='says where it is by "path", "image" or "media"'):
        processor()([say({"type": "image", "url": "a"})])
    with pytest.raises(MediaError):
        processor()([say({"type": "image", "path": "no/such/file.png"})])
    with pytest.raises(ValueError, match="only the first dimension may differ"):
        stack([{"x": torch.ones(2, 3)}, {"x": torch.ones(2, 4)}])


def test_samples_travel_to_workers_and_batches_to_devices() -> None:
    make = pickle.loads(pickle.dumps(processor()))
    batch = make.collate([pickle.loads(pickle.dumps(make(chat))) for chat in MIXED]).to("meta")
    assert batch.inputs["image"].tensors["pixels"].device.type == "meta"
    assert batch.ids.device.type == batch.inputs["image"].rows.device.type == "cpu"  # what stands where


def test_concatenate_pads_to_the_longest() -> None:
    joined = concatenate(
        [
            Tokens(torch.ones(2, 1, 4), torch.ones(2, 1, dtype=torch.bool), ((1, 1), (1, 1))),
            Tokens.full(torch.ones(1, 3, 4)),
        ]
    )
    assert joined.mask.sum(1).tolist() == [1, 1, 3]
    assert not joined.values[0, 1:].any()
    assert not joined.whole
    assert concatenate([Tokens(torch.ones(2, 3, 4), torch.ones(2, 3, dtype=torch.bool))] * 2).whole
