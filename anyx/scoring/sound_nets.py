"""Networks that FAD, FD, IS and KL of sounds are published with, from a local file of their weights.

`Vggish` is of AudioSet (FAD: 128 features of each 0.96 s), by the names of torchvggish; `Cnn14` is that of PANNs (FD
over 2048 features, IS and KL over 527 logits), by its own. Only weights are read, and the networks are written here:
nothing is downloaded and no program of a file is run. How many channels a layer has, the weights say. Equal to
torchvggish and panns_inference of the same weights.

Letters: n media, e examples of a sound, t frames, m bands, f frequencies, c channels, d features or labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from anyx.digests import digest
from anyx.media import Audio, Video
from anyx.scoring.embedders import Medium
from anyx.scoring.features import Floats
from anyx.scoring.inception_v3 import Output, parts, weights_of

VGGISH = {0: True, 3: True, 6: False, 8: True, 11: False, 13: True}  # convolutions, and whether a pool follows
DENSE = (0, 2, 4)
FRAMES, BANDS = 96, 64  # of an example of VGGish
BLOCKS = range(1, 7)  # of Cnn14
ENDS = ("weight", "bias", "running_mean", "running_var")


class Vggish:
    """Features of 0.96 s at 16 kHz; a sound has the mean of its examples, or with `pooled=False` a row an example.

    Published FAD is over rows of examples. `activation` keeps the last ReLU, as the first release did; without it
    figures are those of frechet-audio-distance. What is left over of a sound is dropped, and silence fills a short one.
    """

    def __init__(self, path: str | Path, *, pooled: bool = True, activation: bool = False, device: str = "cpu") -> None:
        layers = [*(f"features.{at}" for at in VGGISH), *(f"embeddings.{at}" for at in DENSE)]
        wanted = [f"{layer}.{end}" for layer in layers for end in ("weight", "bias")]
        weights = weights_of(path, wanted, "torchvggish's VGGish")
        self.weights = {name: tensor.to(device) for name, tensor in weights.items()}
        self.pooled, self.activation, self.device = pooled, activation, device
        kind = ("pooled" if pooled else "examples") + (" relu" if activation else "")
        self.name = f"vggish@1 {kind}#{digest(*parts(weights))[:12]}"
        self.dim: int = weights["embeddings.4.weight"].shape[0]

    def __call__(self, media: Sequence[Medium]) -> Floats:
        """Features (n, d), or (n times e, d) where not pooled; a ValueError for what has no sound."""
        found = [self._of(heard(medium, "VGGish")) for medium in media]
        return np.concatenate(found) if found else np.zeros((0, self.dim))

    @torch.inference_mode()
    def _of(self, audio: Audio) -> Floats:
        x = self.forward(examples(audio).to(self.device)).double().cpu().numpy()
        found: Floats = x.mean(0, keepdims=True) if self.pooled else x
        return found

    def forward(self, x: Float[Tensor, "e t m"]) -> Float[Tensor, "e d"]:
        """Of log-mel bands."""
        x = x[:, None]
        for place, pool in VGGISH.items():
            x = functional.relu(functional.conv2d(x, *self._layer(f"features.{place}"), padding=1))
            x = functional.max_pool2d(x, 2) if pool else x
        x = x.permute(0, 2, 3, 1).flatten(1)
        for place in DENSE:
            x = functional.linear(x, *self._layer(f"embeddings.{place}"))
            x = functional.relu(x) if place < DENSE[-1] or self.activation else x
        return x

    def _layer(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]


class Cnn14:
    """`features` (2048) or `logits` (527 labels of AudioSet) of a whole sound; `path` is a file such as `Cnn14_16k`'s.

    Its spectra are by the tables in the file. `rate` is what the weights were trained at (16000, 32000), which their
    spectra tell where it is one of these two.
    """

    def __init__(
        self, path: str | Path, *, output: Output = "features", rate: int | None = None, device: str = "cpu"
    ) -> None:
        if output not in ("features", "logits"):
            raise ValueError(f"output: {output!r} is not one of features, logits")
        convolutions = [f"conv_block{block}.conv{at}.weight" for block in BLOCKS for at in (1, 2)]
        norms = ["bn0", *(f"conv_block{block}.bn{at}" for block in BLOCKS for at in (1, 2))]
        wanted = [f"spectrogram_extractor.stft.conv_{part}.weight" for part in ("real", "imag")]
        wanted += ["logmel_extractor.melW", *convolutions, *(f"{norm}.{end}" for norm in norms for end in ENDS)]
        wanted += [f"{layer}.{end}" for layer in ("fc1", "fc_audioset") for end in ("weight", "bias")]
        weights = weights_of(path, wanted, "the Cnn14 of PANNs")
        window = weights["spectrogram_extractor.stft.conv_real.weight"].shape[-1]
        if rate is None and window not in (512, 1024):
            raise ValueError(f"rate: {path} has windows of {window}, which no known rate has; give the rate in Hz")
        self.rate = rate or {512: 16000, 1024: 32000}[window]
        self.hop = self.rate // 100
        self.weights = {name: tensor.to(device) for name, tensor in weights.items()}
        self.output, self.device = output, device
        self.name = f"cnn14@panns {output} {self.rate} Hz#{digest(*parts(weights))[:12]}"
        self.dim: int = weights["fc1.weight" if output == "features" else "fc_audioset.weight"].shape[0]

    def __call__(self, media: Sequence[Medium]) -> Floats:
        """Features or logits (n, d); a ValueError for what has no sound."""
        found = [self._of(heard(medium, "Cnn14")) for medium in media]
        return np.stack(found) if found else np.zeros((0, self.dim))

    @torch.inference_mode()
    def _of(self, audio: Audio) -> Floats:
        samples = audio.mono().resample(self.rate).samples
        found: Floats = self.forward(samples.to(self.device))[0].double().cpu().numpy()
        return found

    def forward(self, samples: Float[Tensor, "1 n"]) -> Float[Tensor, "1 d"]:
        """Of one sound at `rate`; five halvings take 0.32 s, and silence fills what is shorter."""
        real, imaginary = (self.weights[f"spectrogram_extractor.stft.conv_{part}.weight"] for part in ("real", "imag"))
        half = real.shape[-1] // 2
        samples = functional.pad(samples, (0, max(0, 32 * self.hop - samples.shape[1])))
        x = functional.pad(samples[:, None], (half, half), mode="reflect")
        waves = [functional.conv1d(x, part, stride=self.hop) for part in (real, imaginary)]
        power = waves[0].square() + waves[1].square()
        x = 10 * (power.transpose(1, 2) @ self.weights["logmel_extractor.melW"]).clamp_min(1e-10).log10()[:, None]
        x = self._normed(x.transpose(1, 3), "bn0").transpose(1, 3)
        for block in BLOCKS:
            for at in (1, 2):
                x = functional.conv2d(x, self.weights[f"conv_block{block}.conv{at}.weight"], padding=1)
                x = functional.relu(self._normed(x, f"conv_block{block}.bn{at}"))
            x = functional.avg_pool2d(x, 2) if block < 6 else x
        x = x.mean(3)
        x = functional.relu(self._linear(x.amax(2) + x.mean(2), "fc1"))
        return x if self.output == "features" else self._linear(x, "fc_audioset")

    def _normed(self, x: Float[Tensor, "b c t m"], name: str) -> Float[Tensor, "b c t m"]:
        scale, shift, mean, spread = (self.weights[f"{name}.{end}"] for end in ENDS)
        return functional.batch_norm(x, mean, spread, scale, shift)

    def _linear(self, x: Float[Tensor, "b c"], name: str) -> Float[Tensor, "b d"]:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])


def heard(medium: Medium, name: str) -> Audio:
    """A sound, or that of a clip."""
    sound: Any = medium.audio if isinstance(medium, Video) else medium
    if not isinstance(sound, Audio):
        given = "a clip without sound" if sound is None else type(sound).__name__
        raise ValueError(f"{name} takes sounds, but {given} was given")
    return sound


def examples(audio: Audio) -> Float[Tensor, "e t m"]:
    """Log-mel bands of each whole 0.96 s, at least one."""
    samples = audio.mono().resample(16000).samples[0].double().numpy()
    samples = np.pad(samples, (0, max(0, 160 * (FRAMES - 1) + 400 - len(samples))))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160] * hann
    bands = np.log(np.abs(np.fft.rfft(frames, 512)) @ mel_bands() + 0.01)
    count = len(bands) // FRAMES
    return torch.from_numpy(bands[: count * FRAMES].reshape(count, FRAMES, BANDS)).float()


def mel_bands() -> Floats:
    """Triangles (f, m) from 125 to 7500 Hz, straight in mel (1127 ln(1 + Hz / 700)); nothing is taken of 0 Hz."""
    low, high = (1127 * np.log(1 + hertz / 700) for hertz in (125, 7500))
    edges = np.linspace(low, high, BANDS + 2)
    bins = 1127 * np.log(1 + np.linspace(0, 8000, 257) / 700)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    found: Floats = np.maximum(0, np.minimum(rising, falling))
    found[0] = 0
    return found
