"""Deep grey, what depth and thermal cameras give: read, resized and written in its own levels, not in 8 bits."""

import io

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from anyx.media import Image, MediaError

LEVELS = np.random.default_rng(0).integers(0, 65536, (9, 13)).astype(np.uint16)


def test_sixteen_bits_of_grey_keep_their_shades():
    file = io.BytesIO()
    PILImage.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(file, "PNG")
    read = Image.read(file.getvalue())
    assert read.pixels[0].tolist() == [[0, 1, 128, 255]]
    assert read.grey.tolist() == [[0, 257, 32896, 65535]]
    with pytest.raises(MediaError, match=r"Image.grey must be torch.int32 \(1, 4\), but torch.int32 \(2, 2\)"):
        Image(read.pixels, torch.zeros(2, 2, dtype=torch.int32))


def test_deep_grey_keeps_its_shades():
    """Modes I and F, which no PNG holds: from PIL, and from TIFF files."""
    sixteen, unit = np.array([[0, 257, 40000, 65535]], np.int32), np.array([[0, 0.25, 0.5, 1]], np.float32)
    for array, wanted in ((sixteen, [[0, 1, 156, 255]]), (unit, [[0, 64, 128, 255]])):
        grey, file = PILImage.fromarray(array), io.BytesIO()
        grey.save(file, "TIFF")
        for source in (grey, file.getvalue()):
            assert Image.read(source).pixels.tolist() == [wanted] * 3
            assert torch.equal(Image.read(source).grey, torch.from_numpy(array))
    assert torch.equal(Image.read(unit).pixels, Image.read(PILImage.fromarray(unit)).pixels)
    for array in (sixteen - 1, sixteen + 1, -unit, unit * 255, unit * np.nan):
        with pytest.raises(MediaError, match=r"mode [IF] holds values from 0 to (1|65535), but .* was given"):
            Image.read(PILImage.fromarray(array))


def test_arrays_of_deep_grey_are_read():
    held = torch.from_numpy(LEVELS.astype(np.int32))
    tensor = torch.from_numpy(LEVELS)
    for source in (LEVELS, LEVELS[..., None], LEVELS.astype(np.int32), tensor, tensor[None], held):
        image = Image.read(source)
        assert torch.equal(image.grey, held)
        assert torch.equal(image.pixels, Image.read(PILImage.fromarray(LEVELS)).pixels)
    for broken in (np.zeros((4, 4, 3), np.uint16), np.zeros((4, 4), np.uint32), torch.zeros(4, 4, 1).short()):
        with pytest.raises(MediaError, match=r"8 bits or floats 3 or 4|floats or uint8, uint16, int32"):
            Image.read(broken)
    with pytest.raises(MediaError, match="0 to 65535, but -1 to -1"):
        Image.read(np.full((4, 4), -1, np.int32))


def test_deep_grey_is_written_in_its_depth(tmp_path):
    sixteen = Image.read(LEVELS)
    floats = Image.read(PILImage.fromarray((LEVELS / 65535).astype(np.float32)))
    for image, formats in ((sixteen, ("png", "tiff", "tif")), (floats, ("tiff",))):
        for suffix in formats:
            path = image.save(tmp_path / f"deep.{suffix}")
            assert torch.equal(Image.read(path).grey, image.grey)
            assert torch.equal(Image.read(path).pixels, image.pixels)
            assert Image.read(path).to_bytes(suffix) == path.read_bytes()
    assert PILImage.open(tmp_path / "deep.png").mode == "I;16"
    for image, suffix in ((sixteen, "jpg"), (sixteen, "webp"), (floats, "png")):
        with pytest.raises(
            ValueError, match=rf"'{suffix}' cannot hold deep grey of (integers: write png or|floats: wri)"
        ):
            image.save(tmp_path / f"not.{suffix}")
    assert not list(tmp_path.glob("not.*"))
    assert Image(sixteen.pixels).to_bytes("jpg")[:2] == b"\xff\xd8"


def test_deep_grey_is_resized_in_its_depth():
    """A ramp halved is the ramp of the middles, to a level; its 8-bit copy is 256 times coarser."""
    ramp = torch.arange(64, dtype=torch.int32)[None, :].expand(32, -1) * 100 + 20000
    image = Image.read(ramp)
    half = image.resize(16, 32)
    assert half.size == (16, 32)
    assert half.grey.dtype == torch.int32
    middles = (ramp[::2, ::2] + 50)[:, 2:-2]
    assert (half.grey[:, 2:-2] - middles).abs().max() <= 1
    assert torch.equal(image.resize(32, 64).grey, image.grey)
    edges = Image.read(torch.tensor([[0, 0, 65535, 65535]], dtype=torch.int32).expand(4, -1)).resize(16, 16)
    assert (edges.grey.min(), edges.grey.max()) == (0, 65535)  # bicubic filters throw beyond
    shares = Image(image.pixels, ramp / 65535).resize(16, 32).grey
    assert (shares * 65535 - half.grey).abs().max() <= 0.6
    assert Image(image.pixels).resize(8, 9).grey is None
