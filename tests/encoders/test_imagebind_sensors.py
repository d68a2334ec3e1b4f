"""Depth, heat and motion: what the transforms make of media, against the formulas of their docstrings."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from anyx.encoders.imagebind import ImageBindEncoder
from anyx.encoders.imagebind_sensors import DepthTransform, ImuTransform, ThermalTransform
from anyx.media import Audio, Image, Series

TRUNK: dict[str, Any] = {"dim": 8, "depth": 2, "heads": 2, "out_dim": 6}


def deep(levels: list[list[float]], dtype: Any = np.uint16) -> Image:
    """A picture of deep grey that went through a file."""
    file = io.BytesIO()
    PILImage.fromarray(np.array(levels, dtype)).save(file, "TIFF")
    return Image.read(file.getvalue())


def test_millimetres_become_disparity() -> None:
    """Kinect: 518.86 px * 0.075 m / depth, at most 75 px, then (x / 75 - 0.0418) / 0.0295; nothing measured is far."""
    found = DepthTransform(2)(deep([[0, 400], [2000, 65535]]))["pixels"]
    pixels = np.array([0, 75, 518.86 * 0.075 / 2, 518.86 * 0.075 / 50])
    wanted = torch.tensor((pixels / 75 - 0.0418) / 0.0295, dtype=torch.float32).reshape(1, 2, 2)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    other = DepthTransform(2, focal=2 * 518.86, baseline=0.075 / 2)(deep([[0, 400], [2000, 65535]]))["pixels"]
    torch.testing.assert_close(other, found)


def test_other_grey_is_disparity_already() -> None:
    shares = [[0.0, 0.25], [0.5, 1.0]]
    found = DepthTransform(2, mean=0.0, std=1.0)(deep(shares, np.float32))["pixels"]
    assert found.tolist() == [shares]
    eight = Image(torch.tensor([[0, 51], [102, 255]], dtype=torch.uint8).expand(3, 2, 2).contiguous())
    torch.testing.assert_close(
        DepthTransform(2, mean=0.0, std=1.0)(eight)["pixels"], torch.tensor([[[0, 0.2], [0.4, 1]]])
    )


def test_sixteen_bits_reach_the_trunk() -> None:
    """Two depths that 8 bits do not tell apart."""
    near, far = (DepthTransform(2)(deep([[x, x], [x, x]]))["pixels"] for x in (1000, 1040))
    assert torch.equal(deep([[1000]]).pixels, deep([[1040]]).pixels)
    assert (near - far).min() > 0.5


@pytest.mark.parametrize("size", [(20, 30), (30, 20)])
def test_heat_is_one_channel_between_zero_and_one(size: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    colours = Image(torch.randint(0, 256, (3, *size), generator=random, dtype=torch.uint8))
    pixels = ThermalTransform(16)(colours)["pixels"]
    assert pixels.shape == (1, 16, 16)
    assert (pixels * 255 == (pixels * 255).round()).all()
    grey = torch.from_numpy(np.array(colours.to_pil().convert("L")))
    squared = ThermalTransform(16)(Image(grey.expand(3, -1, -1).contiguous()))["pixels"]
    assert (pixels - squared).abs().max() <= 1 / 255  # PIL rounds grey's weights once more
    levels = ThermalTransform(2)(deep([[0, 13107], [32768, 65535]]))["pixels"]
    torch.testing.assert_close(levels, torch.tensor([[[0, 0.2], [32768 / 65535, 1]]]))


def test_motion_is_cut_into_windows() -> None:
    steps = torch.arange(10.0).expand(6, 10).contiguous()
    windows = ImuTransform(6, 4, clips=3)(Series(steps))["readings"]
    assert windows[:, 0].tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]  # starts at i * (10 - 4) / 3
    short = ImuTransform(6, 4)(Series(steps[:, :3].contiguous()))["readings"]
    assert short[0, 0].tolist() == [0, 1, 2, 0]


def test_motion_of_known_rate_is_resampled() -> None:
    transform = ImuTransform(1, 8, seconds=2.0)  # 4 Hz
    slow = transform(Series(torch.arange(4.0)[None], 2.0))["readings"]
    torch.testing.assert_close(slow[0, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]))
    same = Series(torch.arange(8.0)[None], 4.0)
    assert torch.equal(transform(same)["readings"][0], same.values)


@pytest.mark.parametrize("trunk", ["depth", "thermal", "imu"])
@pytest.mark.parametrize("output", ["global", "patches"])
def test_every_tower_is_an_encoder(trunk: str, output: str) -> None:
    torch.manual_seed(0)
    picture = deep([[900 * x + y for x in range(20)] for y in range(24)])
    moved = Series(torch.randn(6, 50))
    sizes = {"length": 32, "kernel": 8, "clips": 2} if trunk == "imu" else {"image_size": 16, "kernel": 8}
    encoder = ImageBindEncoder(trunk=trunk, output=output, **TRUNK, **sizes).eval()  # type: ignore[arg-type]
    media = moved if trunk == "imu" else picture
    ((name, x),) = encoder.transform(media).items()
    assert torch.equal(pickle.loads(pickle.dumps(encoder.transform))(media)[name], x)
    tokens = encoder({name: torch.stack([x, x.flip(-1)])})
    assert tokens.values.shape == (2, 1 if output == "global" else 4, 6)
    if trunk != "imu":
        torch.testing.assert_close(tokens.values.norm(dim=-1), torch.ones(tokens.values.shape[:2]))


@pytest.mark.parametrize("transform", [DepthTransform(), ThermalTransform(), ImuTransform()])
def test_other_media_are_refused(transform: Any) -> None:
    with pytest.raises(ValueError, match=r"the (depth|thermal|imu) trunk reads (Image|Series), given Audio"):
        transform(Audio(torch.zeros(1, 8), 8))


def test_wrong_readings_are_refused() -> None:
    with pytest.raises(ValueError, match="reads 6 channels, given 3"):
        ImuTransform()(Series(torch.zeros(3, 9)))
    encoder = ImageBindEncoder(trunk="imu", length=32, **TRUNK)
    with pytest.raises(ValueError, match=r"reads \(b, 6, 32\), given \(1, 6, 31\)"):
        encoder({"readings": torch.zeros(1, 6, 31)})
    with pytest.raises(ValueError, match="kernel: 64 is not within 1 and the length of 32"):
        ImageBindEncoder(trunk="imu", length=32, kernel=64, **TRUNK)
    with pytest.raises(ValueError, match="at least one block, but 0"):
        ImageBindEncoder(trunk="depth", depth=0)
