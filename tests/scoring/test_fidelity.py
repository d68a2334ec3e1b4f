"""PSNR and SSIM: by hand, and against torchmetrics where both count the same windows."""

import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from anyx.media import Image
from anyx.scoring.fidelity import fidelity, psnr, ssim


def flat(value: int, side: int = 16) -> Image:
    return Image(torch.full((3, side, side), value, dtype=torch.uint8))


def noisy() -> tuple[Image, Image]:
    dice = torch.Generator().manual_seed(0)
    a = torch.randint(0, 256, (3, 24, 30), generator=dice, dtype=torch.uint8)
    b = (a.float() + 30 * torch.randn(a.shape, generator=dice)).clamp(0, 255).to(torch.uint8)
    return Image(a), Image(b)


def test_flat_pictures_by_hand() -> None:
    """An error of 16 everywhere: 20 log10(255 / 16) dB. Without structure SSIM is (2ab + c) / (a^2 + b^2 + c)."""
    assert psnr(flat(100), flat(116)) == pytest.approx(20 * math.log10(255 / 16))
    c = (0.01 * 255) ** 2
    assert ssim(flat(100), flat(116)) == pytest.approx((2 * 100 * 116 + c) / (100**2 + 116**2 + c))
    found = fidelity([flat(100)] * 2, [flat(116), flat(100)], metric="psnr")  # 24.0484 dB, and 100 for the same
    assert found.figures["psnr"] == pytest.approx((24.0484 + 100) / 2, abs=1e-4)
    assert fidelity([flat(100)], [flat(116)]).figures["ssim"] == pytest.approx(0.98909, abs=1e-5)


def test_against_torchmetrics() -> None:
    a, b = noisy()
    x, y = (picture.pixels.double() for picture in (a, b))
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(y, x, data_range=255.0).item())
    _, windows = structural_similarity_index_measure(y[None], x[None], data_range=255.0, return_full_image=True)
    assert ssim(a, b) == pytest.approx(windows[..., 5:-5, 5:-5].mean().item(), abs=1e-6)


def test_results() -> None:
    a, b = noisy()
    found = fidelity([a, a], [a, b])
    assert found.items[0] == pytest.approx(1)
    assert found.figures["ssim"] == pytest.approx((1 + ssim(a, b)) / 2)
    assert found.by == {"ssim": "gaussian-11@skimage"}
    equal = fidelity([a], [a], metric="psnr")
    assert (equal.items, equal.by) == ([100], {"psnr": "rgb-255-cap-100@anyx"})


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="11 pixels a side or more"):
        fidelity([flat(1, 10)], [flat(1, 10)])
    with pytest.raises(ValueError, match=r"at one size \(h, w\), but \(16, 16\) and \(12, 12\)"):
        fidelity([flat(1)], [flat(1, 12)])
    with pytest.raises(ValueError, match="metric: 'lpips' given"):
        fidelity([], [], metric="lpips")
    with pytest.raises(ValueError, match="1 references but 0 pictures"):
        fidelity([flat(1)], [])
