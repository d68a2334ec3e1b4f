"""EfficientNet-Lite0: the checkpoint's shapes, "same" padding, tokens of pictures and videos."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from anyx import packaged
from anyx.encoders.efficientnet import EfficientNetEncoder, SameConv2d
from anyx.media import Audio, Image, Video


def test_has_the_published_parameters() -> None:
    with torch.device("meta"):
        encoder = EfficientNetEncoder()
    assert sum(p.numel() for p in encoder.parameters()) == 3_371_008  # 4,652,008 with the classifier's 1,281,000
    shapes = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    assert len(shapes) == 294  # of the checkpoint's 296
    assert shapes["_blocks.1._expand_conv.weight"] == (96, 16, 1, 1)
    assert shapes["_blocks.15._depthwise_conv.weight"] == (1152, 1, 3, 3)
    assert shapes["_conv_head.weight"] == (1280, 320, 1, 1)


@pytest.mark.parametrize(("size", "pads"), [(7, (1, 1)), (8, (0, 1)), (1, (1, 1))])
def test_same_padding_puts_the_odd_row_below(size: int, pads: tuple[int, int]) -> None:
    conv, x = SameConv2d(1, 1, 3, 2, bias=False), torch.randn(1, 1, size, size)
    wanted = F.conv2d(F.pad(x, pads * 2), conv.weight, stride=2)
    assert wanted.shape[2] == -(-size // 2)
    torch.testing.assert_close(conv(x), wanted)


def test_pooled_and_patches(tmp_path: Path) -> None:
    pooled = EfficientNetEncoder(size=64, frames=2).eval()
    save_file(pooled.state_dict() | {"_fc.bias": torch.zeros(3)}, tmp_path / "model.safetensors")
    patches = EfficientNetEncoder(path=str(tmp_path), output="patches", size=64).eval()
    pixels = pooled.transform(Image(torch.randint(0, 256, (3, 80, 70), dtype=torch.uint8)))["pixels"]
    views = pooled.transform(Video(torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8), 5.0))["pixels"]
    assert pixels.abs().max() <= 1
    assert views.shape == (2, 3, 64, 64)
    with torch.no_grad():
        one, grid = pooled({"pixels": pixels[None]}), patches({"pixels": pixels[None]})
        assert grid.values.shape == (1, 4, 1280)
        torch.testing.assert_close(one.values, grid.values.mean(1, keepdim=True))
        assert pooled({"pixels": views[None]}).values.shape == (1, 1, 1280)


def test_the_packaged_weights_are_found_by_their_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYX_HOME", str(tmp_path))
    kept = packaged.folder("efficientnet-lite0")
    kept.mkdir(parents=True)
    stored = EfficientNetEncoder().state_dict()
    save_file(stored, kept / "model.safetensors")
    found = EfficientNetEncoder(path="efficientnet-lite0").state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in stored.items())


def test_errors_name_what_was_given() -> None:
    with pytest.raises((ValueError, TypeError), match="global"):
        EfficientNetEncoder(output="tokens")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reads Image or Video, given Audio"):
        EfficientNetEncoder().transform(Audio(torch.zeros(1, 4), 8000))


def test_the_pyramid_is_the_statistics_of_five_stages() -> None:
    torch.manual_seed(0)
    encoder = EfficientNetEncoder(output="pyramid", size=64, frames=2).eval()
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        values = encoder({"pixels": pixels}).values
        maps = list(encoder.maps(pixels))
        assert [x.shape[1:] for x in maps[1:6]] == [(24, 16, 16), (40, 8, 8), (80, 4, 4), (112, 4, 4), (192, 2, 2)]
        assert values.shape == (2, 1, encoder.dim) == (2, 1, 3040)
        torch.testing.assert_close(values[:, 0, :24], F.layer_norm(maps[1].mean((2, 3)), (24,)))
        corner = F.layer_norm(maps[5].flatten(1), (768,))  # two by two already: its quarters are its pixels
        torch.testing.assert_close(values[:, 0, -768:], corner)
        clip = encoder({"pixels": pixels[None]}).values
        torch.testing.assert_close(clip, values.mean(0, keepdim=True))
