"""A clip with its sound, end to end: both streams reach the LLM in order; a mute clip brings its frames alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import components
import pytest
import torch

from anyx import config as configs
from anyx.build import build
from anyx.encoders.film import FilmEncoder
from anyx.hub import load
from anyx.media import Audio, Image, Video
from anyx.model import AnyX

GIVEN = components.TINY["encoders"]["film"][0]


def clip(seed: int, *, sound: bool = True, pitch: int = 440) -> Video:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(256, (4, 3, 32, 32), generator=generator, dtype=torch.uint8)
    wave = torch.sin(torch.arange(8000) * pitch * 2 * torch.pi / 16000)[None]
    return Video(frames, 8.0, Audio(0.5 * wave, 16000) if sound else None)


def model_of(llm: str) -> AnyX:
    torch.manual_seed(0)
    raw: dict[str, Any] = {
        "llm": {"path": llm},
        "encoders": {"clips": {"type": "film", **GIVEN}},
        "inputs": {"video": {"encoder": "clips", "projector": {"type": "linear"}}},
    }
    return build(configs.check(raw))


def asked(video: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "video", **video}, {"type": "text", "text": "What is it?"}]}]


def tokens_of(encoder: FilmEncoder, *clips: Video) -> Any:
    items = [encoder.transform(one) for one in clips]
    with torch.no_grad():
        return encoder({name: torch.stack([item[name] for item in items]) for name in items[0]})


def test_frames_come_first_and_silence_brings_no_tokens() -> None:
    encoder = FilmEncoder(**GIVEN).eval()
    both, mute = clip(0), clip(0, sound=False)
    tokens = tokens_of(encoder, both, mute, clip(0, pitch=880))
    seen, heard = encoder.widths
    number = tokens.values.shape[1] - 3
    assert tokens.mask.sum(1).tolist() == [number + 3, number, number + 3]
    assert not tokens.values[:, :number, seen:].any()
    assert not tokens.values[:, number:, :seen].any()
    assert encoder.dim == seen + heard
    frames = encoder.frames({name: x[None] for name, x in encoder.frames.transform(both).items()})
    torch.testing.assert_close(tokens.values[0, :number, :seen], frames.values[0])
    assert both.audio is not None
    sound = encoder.sound({name: x[None] for name, x in encoder.sound.transform(both.audio).items()})
    torch.testing.assert_close(tokens.values[0, number:, seen:], sound.values[0])
    assert torch.equal(tokens.values[0, :number], tokens.values[2, :number])
    assert not torch.allclose(tokens.values[0, number:], tokens.values[2, number:])


def test_a_file_is_seen_and_heard(tmp_path: Path, tiny_llm_folder: str) -> None:
    """From mp4 to logits: what is heard changes them, and a mute clip in a batch is as it is alone."""
    model = model_of(tiny_llm_folder)
    paths = [str(one.save(tmp_path / f"{index}.mp4")) for index, one in enumerate((clip(0), clip(0, sound=False)))]
    assert [Video.read(path).audio is not None for path in paths] == [True, False]
    chats = [asked({"path": path}) for path in paths]
    lengths = []
    for chat in chats:
        batch = model.processor.collate([model.processor(chat)])
        spliced, _ = model.read(batch)
        lengths.append(int(spliced.mask.sum()))
    assert lengths[0] == lengths[1] + 3
    together = model.generate(chats, max_new_tokens=8)
    assert [one.text for one in together] == [model.chat(chat, max_new_tokens=8).text for chat in chats]
    low, high = (
        model.processor.collate([model.processor(asked({"media": clip(0, pitch=pitch)}))]) for pitch in (300, 3000)
    )
    states = [model.read(one)[0].embeddings for one in (low, high)]
    assert not torch.allclose(*states)


def test_it_is_saved_and_built_from_shapes(tmp_path: Path, tiny_llm_folder: str) -> None:
    model = model_of(tiny_llm_folder)
    model.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved")
    first, second = (one.encoders["clips"].state_dict() for one in (model, again))
    assert all(torch.equal(x, second[name]) for name, x in first.items())
    assert {"encoders.clips", "encoders.clips.frames", "encoders.clips.sound"} <= set(model.parts())
    shell = build(configs.load(tmp_path / "saved" / "config.yaml"), meta=True)
    assert {one.device.type for one in shell.parameters()} == {"meta"}
    published = {"frames": {"type": "imagebind", "trunk": "vision", "path": "weights/imagebind_huge.pth"}}
    published["sound"] = {"type": "imagebind", "trunk": "audio", "path": "weights/imagebind_huge.pth"}
    raw = {**dict(model.config.raw), "encoders": {"clips": {"type": "film", **published}}}  # type: ignore[union-attr]
    planned = build(configs.check(raw), meta=True)
    assert planned.encoders["clips"].dim == 2048


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sound": {"type": "whispr"}}, "'whispr' is not one of"),
        ({"sound": {"type": "whisper", "confg": {}}}, "sound.confg: Key 'confg' not in"),
        ({"frames": {}}, "'None' is not one of"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        FilmEncoder(**GIVEN | change)
    with pytest.raises(ValueError, match="a film encoder reads Video, given Image"):
        FilmEncoder(**GIVEN).transform(Image(torch.zeros(3, 8, 8, dtype=torch.uint8)))
