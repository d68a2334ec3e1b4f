"""Whisper's encoder through transformers, as an ear (arXiv 2212.04356): which sounds were spoken, whoever spoke.

Letters: b items, m mel bands, t mel frames, n tokens, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import Encoder, Media, TextBatch, Tokens
from anyx.media import Audio
from anyx.packaged import locate
from anyx.signatures import require

RATE = 16000
STEP, HEARD = 160, 0.05  # samples that are looked at together; the share of the loudest from which on a sound is heard
FRAMES, POSITIONS = 100, 50  # a second's mel frames, and what the second convolution's stride leaves of them


class WhisperTransform:
    """Sound -> log-mel (m, t) of its first `seconds`, padded with silence. transformers' feature extractor."""

    def __init__(self, seconds: float, mels: int, lead: float | None = None) -> None:
        from transformers import WhisperFeatureExtractor

        self.samples, self.lead = round(seconds * RATE), lead
        self.extract = WhisperFeatureExtractor(feature_size=mels)

    def __call__(self, media: Media) -> dict[str, Tensor]:
        """Mix to mono, resample, cut or pad, extract."""
        if not isinstance(media, Audio):
            raise ValueError(f"a Whisper encoder reads Audio, given {type(media).__name__}")
        heard = media.mono().resample(RATE).samples[0]
        sound = (heard if self.lead is None else begun(heard, round(self.lead * RATE))).numpy()
        given = self.extract(
            sound,
            sampling_rate=RATE,
            max_length=self.samples,
            truncation=True,
            padding="max_length",
            return_tensors="pt",
        )
        return {"mel": given.input_features[0]}


class WhisperEncoder(Encoder):
    """States of the last layer, 50 a second, or means of `tokens` equal spans of them.

    `path` is a folder or hub id of Whisper weights, `config` a mapping for transformers' `WhisperConfig` (random
    weights); one of the two. `seconds` shortens the published window of 30: the first positions of the table are kept,
    and the cost falls accordingly. `lead` is how many seconds are kept of what is before the first sound (a twentieth
    of the loudest): a recording begins with silence, which fills a short window. Only the encoder is kept in memory.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        config: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        tokens: int | None = None,
        lead: float | None = None,
    ):
        super().__init__()
        from transformers import WhisperConfig, WhisperModel

        if (path is None) == (config is None):
            raise ValueError("give either path (a folder or hub id) or config (sizes of a random encoder)")
        require("config", config or {}, WhisperConfig)
        folder = path if path is None else locate(path)
        sizes = WhisperConfig(**(config or {})) if folder is None else WhisperConfig.from_pretrained(folder)
        positions = sizes.max_source_positions if seconds is None else round(seconds * POSITIONS)
        if not 1 <= positions <= sizes.max_source_positions:
            longest = sizes.max_source_positions / POSITIONS
            raise ValueError(f"seconds: {seconds} is not within {1 / POSITIONS} and {longest}, the encoder's window")
        if tokens is not None and not 1 <= tokens <= positions:
            raise ValueError(f"tokens: {tokens} is not within 1 and {positions}, the encoder's positions")
        if lead is not None and lead < 0:
            raise ValueError(f"lead: {lead} given; it is 0 seconds or more")
        planning = torch.get_default_device().type == "meta"  # reads no weights
        whole = WhisperModel(sizes) if folder is None or planning else WhisperModel.from_pretrained(folder)
        self.tower: nn.Module = _shortened(whole.get_encoder(), positions)
        self.tokens, self.dim = tokens, sizes.d_model
        self.transform = WhisperTransform(positions / POSITIONS, sizes.num_mel_bins, lead)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode mels (b, m, t) to (b, n, d)."""
        states = self.tower(inputs["mel"].to(next(self.tower.parameters()).dtype)).last_hidden_state
        if self.tokens is not None:
            states = F.adaptive_avg_pool1d(states.transpose(1, 2), self.tokens).transpose(1, 2)
        return Tokens.full(states)


def begun(sound: Float[Tensor, " n"], lead: int) -> Float[Tensor, " m"]:
    """A sound from `lead` samples before it is first heard; whole where it is never silent."""
    loud = F.max_pool1d(sound.abs()[None], STEP, ceil_mode=True)[0]
    first = int((loud >= HEARD * loud.max()).nonzero()[0]) * STEP
    return sound[max(0, first - lead) :]


def _shortened(encoder: Any, positions: int) -> nn.Module:
    """Let the encoder read fewer positions than it was trained with (two mel frames each)."""
    table = encoder.embed_positions.weight.detach()[:positions].clone()
    encoder.embed_positions = nn.Embedding(len(table), table.shape[1], _weight=table)
    encoder.max_source_positions = encoder.config.max_source_positions = positions
    return encoder  # type: ignore[no-any-return]
