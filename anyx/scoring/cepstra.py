"""Mel-cepstral distortion (MCD): how far the spectra of two sounds lie apart, frame by frame.

Three conventions, of which the figures differ by constants and by the first coefficient, which is loudness:
`kubichek` is the classical one in dB, 10 sqrt(2) / ln 10 times the mean distance without the first (Kubichek, 1993);
`euclid` leaves the constant out, as mel-cepstral-distance does; `pymcd` takes the first one in.

Letters: t frames, c coefficients, the first of them loudness; m bands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.fft import dct
from scipy.spatial.distance import cdist

from anyx.media import Audio
from anyx.scoring.features import Floats, rows
from anyx.scoring.result import Result
from anyx.scoring.spectra import log_mel

DECIBELS = 10 * math.sqrt(2) / math.log(10)
CONVENTIONS = {"kubichek": (1, DECIBELS), "euclid": (1, 1.0), "pymcd": (0, DECIBELS)}  # first coefficient, constant


def cepstra(audio: Audio, *, coefficients: int = 14) -> Floats:
    """Cepstra (t, c) of a sound: the orthonormal cosine transform of its 40 log-mel bands, 10 ms a frame."""
    found: Floats = dct(log_mel(audio), axis=1, norm="ortho")[:, :coefficients]
    return found


def aligned(costs: Floats) -> list[tuple[int, int]]:
    """The path of least summed cost through a table (t, t) from the first pair of frames to the last (DTW).

    A step goes on in one sound or in both; of equal ways it goes on in both.
    """
    total = np.full((costs.shape[0] + 1, costs.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for i, row in enumerate(costs, 1):
        for j, cost in enumerate(row, 1):
            total[i, j] = cost + min(total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])
    place, path = costs.shape, list[tuple[int, int]]()
    while place != (0, 0):
        i, j = place
        path.append((i - 1, j - 1))
        place = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda before: total[before])
    return path[::-1]


def distortion(x: Floats, y: Floats, *, convention: str = "kubichek", align: bool = False) -> float:
    """MCD of two tables of cepstra (t, c), of as many frames unless `align` finds which belong together."""
    if convention not in CONVENTIONS:
        raise ValueError(f"convention: {convention!r} given; one of {', '.join(CONVENTIONS)}")
    x, y = rows(x, "cepstra"), rows(y, "cepstra")
    if x.shape[1] != y.shape[1] or (not align and len(x) != len(y)):
        raise ValueError(f"cepstra of {x.shape} and {y.shape} were given; both have the same shape, or align=True")
    first, constant = CONVENTIONS[convention]
    x, y = x[:, first:], y[:, first:]
    if align:
        costs = cdist(x, y)
        return constant * float(np.mean([costs[pair] for pair in aligned(costs)]))
    return constant * float(np.linalg.norm(x - y, axis=1).mean())


def mcd(references: Sequence[Audio], made: Sequence[Audio], *, convention: str = "kubichek") -> Result:
    """Mean MCD of sounds and their references, each pair aligned by DTW; both are brought to one rate, the reference's.

    The cepstra are our own (see `cepstra`): figures compare with each other, not with those over another analysis.
    """
    if len(references) != len(made):
        raise ValueError(f"{len(references)} references but {len(made)} sounds; each sound has one")
    items = [
        distortion(cepstra(right), cepstra(sound.resample(right.rate)), convention=convention, align=True)
        for right, sound in zip(references, made, strict=True)
    ]
    by = {"convention": convention, "cepstra": "log-mel-40@anyx", "alignment": "dtw"}
    figures = {"mcd": float(np.mean(items)) if items else None}
    return Result(metric="mcd", by=by, figures=figures, n=len(items), items=items)
