"""ImageBind beyond its goldens: encoder outputs, videos, loading, transforms, errors; tiny, with random weights."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from anyx.encoders.imagebind import ImageBind, ImageBindEncoder, imagebind_huge
from anyx.encoders.imagebind_text import TextTransform
from anyx.encoders.imagebind_transforms import AudioTransform, VisionTransform
from anyx.media import Audio, Image, Video

SIZES: dict[str, dict[str, Any]] = {
    "vision": {"dim": 8, "depth": 1, "heads": 2, "out_dim": 6, "image_size": 16, "kernel": 8, "frames": 4},
    "audio": {"dim": 8, "depth": 1, "heads": 2, "out_dim": 6, "mels": 24, "length": 40, "kernel": 8, "stride": 8},
    "text": {"dim": 8, "depth": 1, "heads": 2, "out_dim": 6, "vocab": 7, "context": 9},
}
OTHERS: dict[str, dict[str, Any]] = {
    "depth": {"dim": 8, "depth": 1, "heads": 2, "out_dim": 6, "image_size": 16, "kernel": 8},
    "thermal": {"dim": 8, "depth": 2, "heads": 4, "out_dim": 6, "image_size": 24, "kernel": 8},
    "imu": {"dim": 8, "depth": 1, "heads": 2, "out_dim": 6, "length": 32, "kernel": 4},
}


def image(h: int = 20, w: int = 30) -> Image:
    return Image(torch.randint(0, 256, (3, h, w), dtype=torch.uint8))


def video(t: int = 12, h: int = 20, w: int = 30, fps: float = 6.0) -> Video:
    return Video(torch.randint(0, 256, (t, 3, h, w), dtype=torch.uint8), fps)


def sound(seconds: float) -> Audio:
    return Audio(torch.rand(2, int(seconds * 8000)) - 0.5, 8000)


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    vocab = {"[UNK]": 0, "a": 1, "cow": 2, "moon": 3, "red": 4}
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps({"version": "1.0", "pre_tokenizer": {"type": "Whitespace"}, "model": model}))
    return str(file)


@pytest.mark.parametrize(("clips", "crops", "patches"), [(1, 1, 8), (2, 3, 8)])
def test_pictures_and_videos_through_one_trunk(clips: int, crops: int, patches: int) -> None:
    encoder = ImageBindEncoder(**SIZES["vision"], clips=clips, crops=crops)
    whole = ImageBindEncoder(**SIZES["vision"], clips=clips, crops=crops, output="patches")
    whole.load_state_dict(encoder.state_dict())
    pixels = encoder.transform(image())["pixels"]
    views = encoder.transform(video())["pixels"]
    assert pixels.shape == (3, 16, 16)
    assert views.shape == (clips * crops, 3, 4, 16, 16)
    tokens = encoder({"pixels": torch.stack([pixels, pixels])})
    assert tokens.values.shape == (2, 1, encoder.dim)
    torch.testing.assert_close(tokens.values.norm(dim=-1), torch.ones(2, 1))
    assert whole({"pixels": pixels[None]}).values.shape == (1, 4, 6)
    assert whole({"pixels": views[None]}).values.shape == (1, patches, 6)
    each = [encoder({"pixels": view[None, None]}).values for view in views]
    torch.testing.assert_close(encoder({"pixels": views[None]}).values, torch.stack(each).mean(0))


def test_a_still_image_is_two_equal_frames() -> None:
    model = ImageBind({"vision": SIZES["vision"]})
    x = torch.randn(2, 3, 16, 16)
    clip = x[:, None, :, None].expand(-1, -1, -1, 2, -1, -1)
    torch.testing.assert_close(model.embed("vision", x), model.embed("vision", clip))


@pytest.mark.parametrize(("kernel", "stride"), [((2, 4, 4), (1, 4, 4)), ((2, 6, 6), (2, 5, 5)), (4, 4)])
def test_stems_are_convolutions(kernel: Any, stride: Any) -> None:
    sizes = SIZES["vision"] | {"kernel": kernel, "stride": stride}
    stem = ImageBind({"vision": sizes}).modality_preprocessors["vision"].rgbt_stem
    x = torch.randn(2, 3, 4, 16, 16)
    torch.testing.assert_close(stem(x), stem.proj(x).permute(0, 2, 3, 4, 1), atol=1e-5, rtol=1e-4)


def test_sound_is_scaled_only_on_request() -> None:
    plain, scaled = (ImageBindEncoder(trunk="audio", scaled=flag, **SIZES["audio"]) for flag in (False, True))
    scaled.load_state_dict(plain.state_dict())
    x = {"mel": torch.stack([plain.transform(sound(s))["mel"] for s in (0.01, 1.0, 3.0)])}
    assert x["mel"].shape == (3, 3, 1, 24, 40)
    torch.testing.assert_close(plain(x).values * 20, scaled(x).values)


def test_all_channels_are_heard() -> None:
    """The published code hears the first channel alone: sound on the right would be silence."""
    transform, clip = AudioTransform(mels=24, length=40), torch.rand(1, 16000) - 0.5
    left, right, both, mono = (
        transform(Audio(samples, 16000))["mel"]
        for samples in (
            torch.cat([clip, 0 * clip]),
            torch.cat([0 * clip, clip]),
            torch.cat([clip, clip]),
            clip,
        )
    )
    assert torch.equal(left, right)
    assert left.std() > 0.1
    assert torch.equal(both, mono)
    published = AudioTransform(mels=24, length=40, first_channel=True)
    assert torch.equal(published(Audio(clip, 16000))["mel"], mono)
    assert published(Audio(torch.cat([0 * clip, clip]), 16000))["mel"].std() < left.std()


def test_text_reads_up_to_its_end_token(tokenizer: str) -> None:
    encoder = ImageBindEncoder(trunk="text", tokenizer=tokenizer, **SIZES["text"])
    ids = encoder.transform(" A  red &amp;lt; cow ")["ids"]
    assert ids.tolist() == [5, 1, 4, 0, 2, 6, 0, 0, 0]  # start 5 and end 6 lie above the words; "<" is unknown
    longer = torch.cat([ids[:6], torch.tensor([3, 3, 3])])
    x = torch.stack([ids, longer])
    first, second = encoder({"ids": x}).values
    torch.testing.assert_close(first, second)
    whole = ImageBindEncoder(trunk="text", output="patches", tokenizer=tokenizer, **SIZES["text"])
    assert whole({"ids": x}).mask.sum(1).tolist() == [6, 6]
    assert TextTransform(tokenizer, 4)("a a a a a")["ids"].tolist() == [5, 1, 1, 6]


def test_trunks_share_one_space_and_one_file(tmp_path: Path) -> None:
    model = ImageBind(SIZES)
    assert model.embed("text", torch.tensor([[1, 6, 0]])).shape == (1, 6)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.save(model.state_dict() | {"modality_heads.imu.0.weight": torch.ones(1)}, tmp_path / "all.pth")
    x = torch.randn(1, 3, 16, 16)
    for path in (tmp_path, tmp_path / "model.safetensors", tmp_path / "all.pth"):
        encoder = ImageBindEncoder(path=str(path), **SIZES["vision"])
        assert all(".vision." in key for key in encoder.state_dict())
        torch.testing.assert_close(encoder({"pixels": x}).values[:, 0], model.embed("vision", x))
    whole = ImageBind(SIZES, path=str(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), model.state_dict().values(), strict=True))
    with pytest.raises(ValueError, match="'thermal' is not one of vision, audio, text"):
        model.embed("thermal", x)


@pytest.mark.parametrize("trunk", ["vision", "text", "audio", "depth", "thermal", "imu"])
def test_a_tower_reads_its_part_of_the_whole_checkpoint(tmp_path: Path, trunk: str, tokenizer: str) -> None:
    """A file like imagebind_huge.pth, shrunk: all six towers, one tower read, everything of it and nothing else."""
    towers = SIZES | OTHERS
    whole = ImageBind(towers)
    torch.save(whole.state_dict(), tmp_path / "imagebind_huge.pth")
    given: dict[str, Any] = {"trunk": trunk} | towers[trunk] | ({"tokenizer": tokenizer} if trunk == "text" else {})
    encoder = ImageBindEncoder(path=str(tmp_path / "imagebind_huge.pth"), **given)
    own = {k: v for k, v in whole.state_dict().items() if k.split(".")[1] == trunk}
    assert encoder.state_dict().keys() == own.keys()
    assert all(torch.equal(v, own[k]) for k, v in encoder.state_dict().items())
    key = f"modality_trunks.{trunk}.blocks.0.norm_1.weight"
    torch.save({k: v for k, v in whole.state_dict().items() if k != key}, tmp_path / "missing.pth")
    with pytest.raises(ValueError, match=f"lacks 1 of the .* first '{key}'"):
        ImageBindEncoder(path=str(tmp_path / "missing.pth"), **given)
    deeper = ImageBind({trunk: towers[trunk] | {"depth": 3}}).state_dict()
    save_file(deeper, tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=rf"keys have no place in the sizes given, first 'modality_trunks\.{trunk}\.bl"
    ):
        ImageBindEncoder(path=str(tmp_path), **given)


@pytest.mark.parametrize("trunk", ["vision", "text", "audio", "thermal", "imu"])
def test_one_row_of_the_last_block_is_that_of_all(trunk: str) -> None:
    torch.manual_seed(0)
    model = ImageBind({trunk: (SIZES | OTHERS)[trunk] | {"depth": 3}})
    transformer = model.modality_trunks[trunk]
    x, place = torch.randn(3, 9, 8), torch.tensor([2, 0, 8])
    torch.testing.assert_close(transformer.at(x, place), transformer(x)[torch.arange(3), place])


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, tokenizer: str) -> None:
    with pytest.raises(ValueError, match="no weights at"):
        ImageBindEncoder(path=str(tmp_path / "gone.pth"), **SIZES["vision"])
    save_file(ImageBind({"vision": SIZES["vision"]}).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"lacks 19 of the 19 keys wanted, first 'modality_preprocessors\.text"):
        ImageBindEncoder(path=str(tmp_path), trunk="text", tokenizer=tokenizer, **SIZES["text"])
    with pytest.raises(ValueError, match=r"first 'modality_heads.vision.2.weight': \(6, 8\)"):
        ImageBindEncoder(path=str(tmp_path), **(SIZES["vision"] | {"out_dim": 5}))
    with torch.device("meta"):  # planning reads no weights
        assert ImageBindEncoder(path=str(tmp_path / "gone.pth"), trunk="audio").dim == 1024


def test_sizes_of_the_published_model_are_the_defaults() -> None:
    assert imagebind_huge("audio") | {"kernel": 16, "stride": 10} == imagebind_huge("audio")
    with torch.device("meta"):
        published = ImageBind({"vision": imagebind_huge("vision")})
        encoder = ImageBindEncoder(trunk="vision")
    assert published.state_dict().keys() == encoder.state_dict().keys()


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match="'touch' is not one of vision, audio, text, depth, thermal, imu"):
        ImageBindEncoder(trunk="touch")
    with pytest.raises(ValueError, match=r"the audio trunk has no image_size, crops; it has dim, .*, first_channel$"):
        ImageBindEncoder(trunk="audio", image_size=8, crops=1)
    with pytest.raises((ValueError, TypeError), match="global"):
        ImageBindEncoder(output="tokens")  # type: ignore[arg-type]
    encoder = ImageBindEncoder(**SIZES["vision"])
    with pytest.raises(ValueError, match=r"reads \(b, 3"):
        encoder({"pixels": torch.zeros(1, 1, 16, 16)})
    with pytest.raises(ValueError, match="positions for 2"):
        encoder({"pixels": torch.zeros(1, 1, 3, 8, 16, 16)})
    for transform, media in ((VisionTransform(), sound(1)), (AudioTransform(), image()), (TextTransform("x"), image())):
        with pytest.raises(ValueError, match="trunk reads"):
            transform(media)


@pytest.mark.parametrize(
    ("trunk", "given"),
    [
        ("vision", {"clips": 2, "clip_seconds": 0.5, "crops": 1}),
        ("audio", {"clips": 2, "clip_seconds": 0.5, "first_channel": True}),
        ("text", {"tokenizer": "x"}),
        ("depth", {"focal": 5.0, "baseline": 0.5}),
        ("thermal", {}),
        ("imu", {"clips": 2}),
    ],
)
def test_a_trunk_takes_its_own_options_and_refuses_the_others(trunk: str, given: dict[str, Any]) -> None:
    """What is given reaches the transform; left out or null, the transform's own defaults stand."""
    every = {"clips": 1, "clip_seconds": 2.0, "crops": 3, "first_channel": False}
    every |= {"tokenizer": "x", "focal": 500.0, "baseline": 0.1}
    with torch.device("meta"):
        transform: Any = ImageBindEncoder(trunk=trunk, **given).transform  # type: ignore[arg-type]
        assert {name: getattr(transform, name) for name in given} == given
        plain = ImageBindEncoder(trunk=trunk, **dict.fromkeys(every)).transform  # type: ignore[arg-type]
        assert plain == ImageBindEncoder(trunk=trunk).transform  # type: ignore[arg-type]
        for name in every.keys() - given.keys():
            with pytest.raises(ValueError, match=rf"^the {trunk} trunk has no {name}; it has dim, "):
                ImageBindEncoder(trunk=trunk, **{name: every[name]})  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"clips": 0}, {"clip_seconds": 0.0}, {"crops": 2}])
def test_cuts_that_are_none_are_refused(given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    with pytest.raises(ValueError, match=rf"{name}: {value} given; it is (more than 0|1 \(the centre\))"):
        ImageBindEncoder(**SIZES["vision"], **given)


def test_a_vocabulary_too_small_for_the_tokenizer_is_refused(tmp_path: Path, tokenizer: str) -> None:
    """The tokenizer has five words; its start and end come on top, 5 and 6."""
    few = SIZES["text"] | {"vocab": 6}
    with pytest.raises(ValueError, match=r"tokenizer\.json' makes 7 ids, more than the text trunk's vocab of 6"):
        ImageBindEncoder(trunk="text", tokenizer=tokenizer, **few)
    with pytest.raises(ValueError, match=r"'clip-merges' makes 49408 ids, .* vocab of 6; give vocab=49408"):
        ImageBindEncoder(trunk="text", **few)
    late = ImageBindEncoder(trunk="text", tokenizer=str(tmp_path / "late.json"), **few).transform
    Path(tokenizer).rename(tmp_path / "late.json")
    with pytest.raises(ValueError, match="makes 7 ids"):
        pickle.loads(pickle.dumps(late))("a cow")


@pytest.mark.parametrize("transform", [VisionTransform(16), AudioTransform(mels=24, length=40)])
def test_transforms_are_picklable_values(transform: Any) -> None:
    media = image() if isinstance(transform, VisionTransform) else sound(0.5)
    ((name, first),) = transform(media).items()
    assert torch.equal(first, pickle.loads(pickle.dumps(transform))(media)[name])


def test_video_crops_lie_along_the_longer_side() -> None:
    frames = torch.arange(40, dtype=torch.uint8).expand(3, 3, 20, 40).contiguous()
    views = VisionTransform(20, clips=1, mean=(0.0,) * 3, std=(1.0,) * 3)(Video(frames, 1.0))["pixels"]
    assert (views[:, 0, 0, 0, 0] * 255).round().tolist() == [0, 10, 20]
    tall = VisionTransform(20, clips=1)(Video(frames.transpose(2, 3).contiguous(), 1.0))["pixels"]
    torch.testing.assert_close(tall.transpose(-1, -2), VisionTransform(20, clips=1)(Video(frames, 1.0))["pixels"])
