"""Log-mel spectra of sounds, in double precision: what our cepstra and plain sound features are made of.

Letters: t frames, m bands, f frequencies, n samples.
"""

from __future__ import annotations

import numpy as np

from anyx.media import Audio
from anyx.scoring.features import Floats

BANDS = 40
FLOOR = 1e-5  # of energy: silence is -11.5


def filters(rate: int, length: int, bands: int) -> Floats:
    """Triangles (m, f), evenly spaced in mel (2595 log10(1 + Hz / 700)) from 0 Hz to half the rate."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(length, 1 / rate)
    low, middle, high = (edges[start : start + bands, None] for start in range(3))
    found: Floats = np.maximum(0, np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)))
    return found


def log_mel(audio: Audio, *, bands: int = BANDS) -> Floats:
    """Log of energies (t, m) of a sound's mean channel: Hann windows of 25 ms, one every 10 ms; at least one."""
    samples = audio.mono().samples[0].double().numpy()
    window, hop = max(2, round(0.025 * audio.rate)), max(1, round(0.01 * audio.rate))
    samples = np.pad(samples, (0, max(0, window - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    length = 1 << (window - 1).bit_length()
    energies = np.abs(np.fft.rfft(frames * np.hanning(window), length)) ** 2 / window
    found: Floats = np.log(np.maximum(energies @ filters(audio.rate, length, bands).T, FLOOR))
    return found
