"""Small convolutional judges: pictures, clips and sounds -> log-probabilities of a closed list of labels.

They are trained only on real media, by an experiment's own script, and share no weights with the model they judge. A
clip's score is the mean over its frames. Weights are safetensors in half precision.

Letters: b items, t frames, h height, w width, c channels, l labels, f mel bands, n time steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from anyx.media import Audio, Image, Video

RATE, MELS, SECONDS = 16000, 64, 2.4


def block(width_in: int, width_out: int, stride: int) -> nn.Sequential:
    """Convolution, norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False), nn.BatchNorm2d(width_out), nn.ReLU(inplace=True)
    )


class ConvClassifier(nn.Module):
    """Halving blocks of growing width, a mean over what is left, one linear layer."""

    def __init__(self, channels: int, widths: Sequence[int], labels: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            block(channels, widths[0], 2),
            *(nn.Sequential(block(a, b, 2), block(b, b, 1)) for a, b in pairwise(widths)),
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(widths[-1], labels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b l"]:
        """Logits."""
        logits: Tensor = self.head(self.dropout(self.blocks(x).float().mean((2, 3))))
        return logits


def picture_net(labels: int) -> ConvClassifier:
    """The net of `PictureJudge`."""
    return ConvClassifier(3, (32, 64, 128, 160), labels)


def sound_net(labels: int) -> ConvClassifier:
    """The net of `SoundJudge`."""
    return ConvClassifier(1, (24, 40, 64, 96), labels)


def pixels_of(pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 64 64"]:
    """Pixels as the net reads them: 64 by 64, -1 to 1."""
    x = pixels.float() / 127.5 - 1
    if x.shape[-2:] != (64, 64):
        x = functional.interpolate(x, (64, 64), mode="bilinear", antialias=True)
    return x.contiguous(memory_format=torch.channels_last)


def log_mel(samples: Float[Tensor, "b n"]) -> Float[Tensor, "b 1 f m"]:
    """Log-mel bands of sound at `RATE`, 10 ms apart, of unit scale."""
    power: Tensor = _mel()(samples)
    return ((power.clamp_min(1e-6).log() + 5) / 4)[:, None].contiguous(memory_format=torch.channels_last)


@cache
def _mel() -> Any:
    from torchaudio.transforms import MelSpectrogram

    return MelSpectrogram(RATE, 1024, win_length=400, hop_length=160, n_mels=MELS, f_min=40, f_max=7600)


def fitted(audio: Audio) -> Float[Tensor, " n"]:
    """Mono at `RATE`, its peak at 0.8, `SECONDS` long: cut, or silence after it."""
    samples = audio.mono().resample(RATE).samples[0]
    samples = samples * (0.8 / samples.abs().max().clamp_min(1e-3))
    size = int(RATE * SECONDS)
    return functional.pad(samples, (0, max(0, size - len(samples))))[:size]


class PictureJudge:
    """Pictures or clips -> log-probabilities of `labels`."""

    def __init__(self, labels: Sequence[str], *, path: str | Path) -> None:
        self.net = restored(picture_net(len(labels)), path)

    @torch.inference_mode()
    def __call__(self, outputs: Sequence[Image | Video]) -> Float[Tensor, "b l"]:
        """One row an output."""
        frames = [x.pixels[None] if isinstance(x, Image) else x.frames for x in outputs]
        rows = [pixels_of(x) for x in frames]
        scores = self.net(torch.cat(rows)).log_softmax(-1)
        return torch.stack([part.mean(0) for part in scores.split([len(row) for row in rows])])


class SoundJudge:
    """Sounds -> log-probabilities of `labels`."""

    def __init__(self, labels: Sequence[str], *, path: str | Path) -> None:
        self.net = restored(sound_net(len(labels)), path)

    @torch.inference_mode()
    def __call__(self, outputs: Sequence[Audio]) -> Float[Tensor, "b l"]:
        """One row an output."""
        scores: Tensor = self.net(log_mel(torch.stack([fitted(x) for x in outputs]))).log_softmax(-1)
        return scores


def restored(net: nn.Module, path: str | Path) -> nn.Module:
    """The net with the weights of a file, ready to judge."""
    if not Path(path).is_file():
        raise ValueError(f"path: there are no judge's weights at {path}; train the judges first")
    net.load_state_dict({name: x.float() if x.is_floating_point() else x for name, x in load_file(path).items()})
    return net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def stored(net: nn.Module, path: str | Path) -> None:
    """Write a net's weights in half precision."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: x.half().contiguous() if x.is_floating_point() else x for name, x in net.state_dict().items()}, path
    )
