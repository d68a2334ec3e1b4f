"""Sound to log-mel frames and back: the front end of the audio decoder, and a vocoder without weights.

The frames are AudioLDM's: magnitudes on Slaney's mel scale, natural logarithm, floor 1e-5; they may be shifted and
scaled to about unit variance, which a small autoencoder learns faster. `GriffinLim` undoes that, and stands where
published pipelines have a neural vocoder.

Letters: b items, n samples, t frames, m mel bins, f frequencies.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchaudio.functional import griffinlim, melscale_fbanks

FLOOR = 1e-5


class LogMel(nn.Module):
    """Waveforms -> normalised log-mel frames, one every `hop` samples."""

    bank: Tensor
    window: Tensor

    def __init__(
        self, *, rate: int = 16000, bins: int = 64, hop: int = 160, fft: int = 1024, mean: float = 0.0, std: float = 1.0
    ) -> None:
        super().__init__()
        self.rate, self.bins, self.hop, self.mean, self.std = rate, bins, hop, mean, std
        with torch.device("cpu"):  # torchaudio mixes in numbers of its own, which the meta device refuses
            bank = melscale_fbanks(fft // 2 + 1, 0.0, rate / 2, bins, rate, norm="slaney", mel_scale="slaney")
        self.register_buffer("bank", bank.to(torch.get_default_device()), persistent=False)  # (f, m)
        self.register_buffer("window", torch.hann_window(fft), persistent=False)

    @torch.no_grad()
    def forward(self, samples: Float[Tensor, "b n"]) -> Float[Tensor, "b t m"]:
        """Frames of samples; t = n // hop."""
        window = self.window.float()
        spectrum = torch.stft(samples.float(), len(window), self.hop, window=window, return_complex=True).abs()
        mel = spectrum.mT[:, : samples.shape[-1] // self.hop] @ self.bank.float()
        return (mel.clamp(min=FLOOR).log() - self.mean) / self.std


class GriffinLim(nn.Module):
    """Normalised log-mel frames -> waveforms, by Griffin and Lim's iterations; deterministic, nothing to learn."""

    def __init__(
        self,
        *,
        rate: int = 16000,
        bins: int = 64,
        hop: int = 160,
        fft: int = 1024,
        mean: float = -8.0,
        std: float = 3.5,
        iterations: int = 32,
    ) -> None:
        super().__init__()
        self.analysis = LogMel(rate=rate, bins=bins, hop=hop, fft=fft, mean=mean, std=std)
        self.settings = {"rate": rate, "bins": bins, "hop": hop, "fft": fft, "mean": mean, "std": std}
        self.settings |= {"iterations": iterations}
        self.config = SimpleNamespace(
            sampling_rate=rate, model_in_dim=bins, upsample_rates=[hop]
        )  # what pipelines read
        self.iterations, self.fft, self.hop = iterations, fft, hop

    @property
    def device(self) -> torch.device:
        """Where it is: a pipeline asks its modules."""
        return self.analysis.window.device

    def forward(self, frames: Float[Tensor, "b t m"]) -> Float[Tensor, "b n"]:
        """Samples of frames; n = t * hop."""
        frames = torch.cat([frames, frames[:, -1:]], dim=1).float()  # n samples have n // hop + 1 centred windows
        mel = (frames * self.analysis.std + self.analysis.mean).clamp(max=6).exp().mT
        samples: Tensor = griffinlim(
            self._magnitudes(mel),
            self.analysis.window.float(),
            n_fft=self.fft,
            hop_length=self.hop,
            win_length=self.fft,
            power=1,
            n_iter=self.iterations,
            momentum=0.99,
            length=(frames.shape[1] - 1) * self.hop,
            rand_init=False,
        )
        return samples

    def save_pretrained(self, folder: Path) -> None:
        """Write the settings as config.json."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.settings, indent=2) + "\n")

    def _magnitudes(self, mel: Float[Tensor, "b m t"], updates: int = 20) -> Float[Tensor, "b f t"]:
        """Non-negative magnitudes whose mel frames are these (multiplicative updates of least squares)."""
        bank = self.analysis.bank.float()
        value = bank @ mel
        goal, gram = value, bank @ bank.T
        for _ in range(updates):
            value = value * goal / (gram @ value).clamp(min=1e-10)
        return value
