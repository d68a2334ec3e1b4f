"""Mel-cepstral distortion and the alignment that it takes: worked out by hand."""

import math

import numpy as np
import pytest
import torch

from anyx.media import Audio
from anyx.scoring.cepstra import aligned, cepstra, distortion, mcd
from anyx.scoring.spectra import filters, log_mel


def tone(hertz: float, seconds: float = 0.3, rate: int = 8000) -> Audio:
    return Audio(torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * rate)) / rate)[None] / 2, rate)


def test_the_conventions_by_hand() -> None:
    """One frame, apart by (12, 3, 4): without the first sqrt(9 + 16) = 5, with it 13; the constant is 6.1418..."""
    x, y = np.zeros((1, 3)), np.array([[12.0, 3.0, 4.0]])
    constant = 10 * math.sqrt(2) / math.log(10)
    assert constant == pytest.approx(6.1418, abs=1e-4)
    assert distortion(x, y, convention="euclid") == pytest.approx(5)
    assert distortion(x, y) == pytest.approx(5 * constant)
    assert distortion(x, y, convention="pymcd") == pytest.approx(13 * constant)


def test_alignment_by_hand() -> None:
    """0 1 1 5 against 0 1 5: the doubled 1 is passed twice, at no cost; frame by frame 5 has no partner."""
    x, y = np.array([0.0, 1, 1, 5]), np.array([0.0, 1, 5])
    assert aligned(np.abs(x[:, None] - y)) == [(0, 0), (1, 1), (2, 1), (3, 2)]
    rows_x, rows_y = (np.stack([side * 0, side], axis=1) for side in (x, y))
    assert distortion(rows_x, rows_y, align=True) == 0
    with pytest.raises(ValueError, match=r"\(4, 2\) and \(3, 2\) were given"):
        distortion(rows_x, rows_y)
    with pytest.raises(ValueError, match="convention: 'db' given; one of kubichek, euclid, pymcd"):
        distortion(rows_x, rows_x, convention="db")


def test_sounds_apart() -> None:
    """The same tone is at 0, a longer one of the same pitch nearer than one of another, and loudness counts little."""
    right, louder = tone(440), Audio(tone(440).samples * 1.5, 8000)
    found = mcd([right] * 4, [right, tone(440, 0.4), tone(1500), louder])
    same, longer, other, loud = found.items
    assert same == 0
    assert longer < other / 4
    assert loud < other / 4
    assert found.figures["mcd"] == pytest.approx(np.mean(found.items))
    assert mcd([right], [right.resample(16000)]).items[0] < other / 4
    with pytest.raises(ValueError, match="1 references but 0 sounds"):
        mcd([right], [])


def test_a_figure_by_hand() -> None:
    """A sound of one frame, e^(1/2) times as loud: each of 40 log energies is 1 higher, which moves the first of the
    orthonormal coefficients by sqrt(40) alone. With it, that is 6.1419 * 6.3246 dB = 38.844; without it, 0. Half of
    that (e^(1/4)) beside it, and the mean is 29.133.
    """
    sound = Audio(0.3 * torch.randn(1, 200, generator=torch.Generator().manual_seed(0)), 8000)
    louder, less = (Audio(sound.samples * math.exp(power), 8000) for power in (0.5, 0.25))
    assert log_mel(sound).shape == (1, 40)
    assert mcd([sound], [louder], convention="pymcd").figures["mcd"] == pytest.approx(38.844, abs=1e-3)
    assert mcd([sound] * 2, [louder, less], convention="pymcd").figures["mcd"] == pytest.approx(29.133, abs=1e-3)
    assert mcd([sound], [louder]).figures["mcd"] == pytest.approx(0, abs=1e-5)
    silence = cepstra(Audio(torch.zeros(1, 200), 8000))  # 40 times ln 1e-5
    assert silence[0] == pytest.approx([-11.5129 * math.sqrt(40), *[0] * 13], abs=1e-3)


def test_a_tone_is_in_its_band() -> None:
    """The loudest of 40 bands over 0 to 4 kHz is the one whose triangle stands over the tone."""
    spectrum = log_mel(tone(1000))
    assert spectrum.shape == (28, 40)  # 0.3 s less one window of 25 ms, every 10 ms: 27.5 steps, and the first
    over = filters(8000, 8000, 40)[:, 1000]
    assert spectrum.mean(0).argmax() == over.argmax()
    assert log_mel(Audio(torch.zeros(1, 5), 8000)).shape == (1, 40)
