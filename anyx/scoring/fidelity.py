"""PSNR and SSIM: how near a picture is to the one it should be, pixel by pixel and in local structure.

Letters: h height, w width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from anyx.media import Image
from anyx.scoring.features import Floats
from anyx.scoring.result import Result

RANGE = 255.0
RADIUS, SIGMA = 5, 1.5  # of SSIM's window, 11 by 11
BY = {"psnr": {"psnr": "rgb-255-cap-100@anyx"}, "ssim": {"ssim": "gaussian-11@skimage"}}  # what is measured


def psnr(a: Image, b: Image) -> float:
    """Peak signal-to-noise ratio in dB over all channels; infinite for equal pictures."""
    error = float(np.mean((a.numpy().astype(np.float64) - b.numpy()) ** 2))
    return 10 * math.log10(RANGE**2 / error) if error else math.inf


def smooth(x: Floats) -> Floats:
    """Gaussian means over windows that lie within the picture (h, w, 3)."""
    for axis in (0, 1):
        x = gaussian_filter1d(x, SIGMA, axis=axis, radius=RADIUS)
    return x[RADIUS:-RADIUS, RADIUS:-RADIUS]


def ssim(a: Image, b: Image) -> float:
    """Structural similarity (Wang, 2004), over windows of 11 by 11 that lie within the picture; the mean of them.

    scikit-image counts the same ones with `gaussian_weights=True, use_sample_covariance=False, data_range=255`.
    torchmetrics also counts windows that reach over the mirrored border, which moves the third digit.
    """
    if min(a.size) <= 2 * RADIUS:
        raise ValueError(f"SSIM takes pictures of {2 * RADIUS + 1} pixels a side or more, but {a.size} was given")
    x, y = (picture.numpy().astype(np.float64) for picture in (a, b))
    mean_x, mean_y = smooth(x), smooth(y)
    spread_x, spread_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    shared = smooth(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(np.mean(light * (2 * shared + c2) / (spread_x + spread_y + c2)))


def check_pairs(references: Sequence[Image], made: Sequence[Image]) -> None:
    """A ValueError where a picture has no reference, or one of another size."""
    if len(references) != len(made):
        raise ValueError(f"{len(references)} references but {len(made)} pictures; each picture has one")
    for right, picture in zip(references, made, strict=True):
        if right.size != picture.size:
            raise ValueError(
                f"pictures are compared at one size (h, w), but {right.size} and {picture.size} were given"
            )


def fidelity(references: Sequence[Image], made: Sequence[Image], *, metric: str = "ssim") -> Result:
    """Mean `psnr` or `ssim` of pictures and their references, of the same sizes. The PSNR of equal pictures is 100."""
    if metric not in ("psnr", "ssim"):
        raise ValueError(f"metric: {metric!r} given; psnr or ssim")
    check_pairs(references, made)
    score = psnr if metric == "psnr" else ssim
    items = [min(100.0, score(a, b)) for a, b in zip(references, made, strict=True)]
    return Result(
        metric=metric,
        by=BY[metric],
        figures={metric: float(np.mean(items)) if items else None},
        n=len(items),
        items=items,
    )
