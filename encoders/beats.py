"""BEATs (arXiv 2212.09058): sounds of any kind, as patches of their filter bank, through a transformer.

The filter bank is Kaldi's, 128 bins of 25 ms every 10 ms; patches of 16 x 16 are read time after time, the low bins of
each first. A convolution over their sequence says where they lie, and a bias of the attention how far apart: one table
of distances for all layers, as T5's (arXiv 1910.10683) in buckets that grow with the distance, which every query opens
or shuts by a gate of its own (arXiv 2106.16138, as in WavLM, arXiv 2110.13900). Layers are post-norm, and what they add
to is scaled by the fourth root of twice their number (DeepNorm, arXiv 2203.00555).

Published are 768 wide, 12 layers of 12 heads, patches of 16 mapped to 512 first, and the mean and deviation of the
bins, which are those of 16-bit samples. The convolution of 128 patches in 16 groups, the 320 buckets up to a distance
of 800 and the order of the parts are WavLM's, taken for BEATs' own. That clips are laid evenly over a longer sound is
ours, and so are the names of the weights; a published convolution's weight norm has to be multiplied out.

Letters: b clips of all sounds, c clips of a sound, f frames, m mel bins, n patches, d width, h heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import Encoder, TextBatch, Tokens
from anyx.layers import Mlp
from anyx.media import Audio
from anyx.signatures import Amount, Count, Least

from .imagebind_transforms import clip_starts
from .weights import load

RATE, LOUDNESS = 16000, 2**15  # Hz; what a sample of 1 is
WINDOW, SHIFT = 400, 160  # samples of a frame, and from one to the next
MEAN, DEVIATION = 15.41663, 6.55582
Gate = Literal["queries", "states"]


@dataclass(frozen=True)
class BeatsTransform:
    """Sound to the filter banks of `clips` clips (c, f, m) of so many seconds, and how many frames of each are `heard`.

    Clips of a longer sound are laid evenly over it, one of a shorter is padded with silence.
    """

    seconds: float
    clips: int
    mels: int

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """Mix to mono, resample, cut or pad, take the filter bank, normalise to a deviation of a half."""
        if not isinstance(media, Audio):
            raise ValueError(f"a BEATs encoder reads Audio, given {type(media).__name__}")
        from torchaudio.compliance.kaldi import fbank

        wave, length = media.mono().resample(RATE).samples * LOUDNESS, round(self.seconds * RATE)
        mels, heard = [], []
        for start in clip_starts(wave.shape[1] / RATE, self.seconds, self.clips):
            clip = wave[:, int(start * RATE) :][:, :length]
            heard.append(frames_of(max(clip.shape[1], WINDOW)))
            clip = F.pad(clip, (0, length - clip.shape[1]))
            bank = fbank(clip, num_mel_bins=self.mels, sample_frequency=RATE, frame_length=25, frame_shift=10)
            mels.append((bank - MEAN) / (2 * DEVIATION))
        return {"mel": torch.stack(mels), "heard": torch.tensor(heard)}


def frames_of(samples: int) -> int:
    """How many whole frames lie within so many samples."""
    return 1 + (samples - WINDOW) // SHIFT


class GatedAttention(nn.Module):
    """Attention with a bias by distance (h, n, n), of which each head of each query takes as much as its gate says.

    The gate reads the queries, as in the formula of XLM-E, or the states that they are made of (transformers' WavLM).
    """

    def __init__(self, dim: int, heads: int, gate: Gate):
        super().__init__()
        self.heads, self.gate = heads, gate
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.opens = nn.Linear(dim // heads, 8)  # summed by fours: the update and the reset of a gated unit
        self.scale = nn.Parameter(torch.ones(heads, 1))

    def forward(
        self, x: Float[Tensor, "b n d"], bias: Float[Tensor, "h n n"], mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b n d"]:
        """Attend to the real patches."""
        q, k, v, states = (
            t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (self.q(x), self.k(x), self.v(x), x)
        )
        gates = self.opens(q if self.gate == "queries" else states).unflatten(-1, (2, 4)).sum(-1).sigmoid()
        update, reset = gates.unbind(-1)
        share = 2 + update * (reset * self.scale - 1)
        near = (share[..., None] * bias).masked_fill(~mask[:, None, None], -torch.inf)
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=near)
        return self.out(read.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class BeatsLayer(nn.Module):
    """Attend, then map; both are added to what they read times `residual`, and normalised."""

    def __init__(self, dim: int, heads: int, hidden: int, residual: float, gate: Gate):
        super().__init__()
        self.residual = residual
        self.attn, self.norm_1 = GatedAttention(dim, heads, gate), nn.LayerNorm(dim)
        self.mlp, self.norm_2 = Mlp(dim, hidden), nn.LayerNorm(dim)

    def forward(
        self, x: Float[Tensor, "b n d"], bias: Float[Tensor, "h n n"], mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b n d"]:
        """The next states."""
        x = self.norm_1(self.residual * x + self.attn(x, bias, mask))
        return self.norm_2(self.residual * x + self.mlp(x))  # type: ignore[no-any-return]


class BeatsEncoder(Encoder):
    """Patches of `clips` clips of `seconds` each, laid end to end: 8 every 160 ms of 128 bins.

    `kernel` and `groups` are the convolution's over patches, `buckets` and `distance` the table's. `residual` is by how
    much states are scaled before a layer adds to them (default: DeepNorm's for so many layers), `gate` what the gate of
    the bias reads. `path` names weights under the names here.
    """

    def __init__(
        self,
        *,
        width: Count = 768,
        layers: Count = 12,
        heads: Count = 12,
        hidden: Count = 3072,
        patch: Count = 16,
        embed: Count = 512,
        mels: Count = 128,
        kernel: Count = 128,
        groups: Count = 16,
        buckets: Annotated[int, Least(4)] = 320,
        distance: Count = 800,
        residual: Amount | None = None,
        gate: Gate = "queries",
        seconds: float = 10.0,
        clips: Count = 1,
        path: str | None = None,
    ):
        super().__init__()
        least = (WINDOW + (patch - 1) * SHIFT) / RATE
        if mels % patch or width % heads or width % groups:
            given = f"{mels} by {patch}, {width} by {heads} and by {groups}"
            raise ValueError(f"mels are cut by patch, and width by heads and by groups, without a rest: given {given}")
        if clips < 1 or seconds < least:
            raise ValueError(f"clips and seconds: {clips} of {seconds} given; at least 1 of {least}, a patch's time")
        if buckets % 4 or distance <= buckets // 4:
            told = f"given {buckets} and {distance}"
            raise ValueError(f"buckets are a multiple of 4, and distance is more than a quarter of them: {told}")
        if gate not in ("queries", "states"):
            raise ValueError(f"gate: {gate!r} is not one of queries, states")
        self.dim, self.patch, self.distance = width, patch, distance
        self.stem = nn.Conv2d(1, embed, patch, stride=patch, bias=False)
        self.norm_stem, self.widen = nn.LayerNorm(embed), nn.Linear(embed, width)
        self.places = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)
        self.norm_pre = nn.LayerNorm(width)
        self.near = nn.Embedding(buckets, heads)
        scale = (2 * layers) ** 0.25 if residual is None else residual
        self.layers = nn.ModuleList(BeatsLayer(width, heads, hidden, scale, gate) for _ in range(layers))
        self.transform = BeatsTransform(seconds, clips, mels)
        if path is not None:
            load(self, path)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode filter banks (b, c, f, m), of which (b, c) frames are heard, to (b, c n, d)."""
        mel = inputs["mel"].to(self.widen.weight.dtype)
        patches = self.stem(mel.flatten(0, 1)[:, None])
        times = (inputs["heard"].to(mel.device).flatten() // self.patch).clamp(min=1)
        real = torch.arange(patches.shape[2], device=mel.device) < times[:, None]
        mask = real.repeat_interleave(patches.shape[3], dim=1)
        x = self.states(self.widen(self.norm_stem(patches.flatten(2).transpose(1, 2))), mask)
        return Tokens(x.reshape(len(mel), -1, self.dim), mask.reshape(len(mel), -1))

    def states(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Patches through the layers."""
        x = x * mask[..., None]
        placed = self.places(x.transpose(1, 2))[..., : x.shape[1]]  # an even kernel makes one more
        x = self.norm_pre(x + F.gelu(placed).transpose(1, 2))
        bias = self.near(bucketed(x.shape[1], self.near.num_embeddings, self.distance, x.device)).permute(2, 0, 1)
        for layer in self.layers:
            x = layer(x, bias, mask)
        return x


def bucketed(length: int, buckets: int, distance: int, device: torch.device) -> Int[Tensor, "n n"]:
    """From each patch (rows) to each: a half of the buckets for what lies behind, a half for what lies ahead.

    The nearer half of either has a bucket a place, the farther half grows in logarithms up to `distance`.
    """
    place = torch.arange(length, device=device)
    away = place[None] - place[:, None]
    half, own = buckets // 2, buckets // 4
    grown = (away.abs().clamp(min=1).float() / own).log() / math.log(distance / own) * (half - own)
    far = (own + grown).long().clamp(max=half - 1)
    return (away > 0) * half + torch.where(away.abs() < own, away.abs(), far)
