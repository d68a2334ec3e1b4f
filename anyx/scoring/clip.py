"""CLIP as an embedder: pictures, clips and texts in one space, from weights in a local folder, through transformers.

Letters: n media, d features of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anyx.digests import bytes_of, digest
from anyx.media import Image, Video
from anyx.scoring.embedders import Medium
from anyx.scoring.features import Floats
from anyx.scoring.similarity import frames_of


class ClipEmbedder:
    """The projected features of a CLIP in `path`, a folder with its weights, processor and tokenizer.

    A clip's are the mean of its frames'; for figures frame by frame hand the frames in (`anyx.scoring.similarity`).
    Texts are cut at the length that the model takes. Nothing is downloaded. ValueError: `path` is no such folder.
    """

    def __init__(self, path: str | Path) -> None:
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        if not (Path(path) / "config.json").is_file():
            raise ValueError(f"CLIP is read from a local folder with a config.json, but {str(path)!r} has none")
        self.model: Any = CLIPModel.from_pretrained(path, local_files_only=True).eval()
        self.processor: Any = CLIPImageProcessor.from_pretrained(path, local_files_only=True)
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(path, local_files_only=True)
        weights = [part for name, value in sorted(self.model.state_dict().items()) for part in (name, bytes_of(value))]
        self.name = f"clip@{Path(path).name}#{digest(*weights)[:12]}"
        self.dim: int = self.model.config.projection_dim

    def __call__(self, media: Sequence[Medium]) -> Floats:
        """Features (n, d), not normalised; a ValueError for sounds."""
        found = [self._of(medium) for medium in media]
        return np.stack(found) if found else np.zeros((0, self.dim))

    @torch.inference_mode()
    def _of(self, medium: Medium) -> Floats:
        if isinstance(medium, str):
            length = self.model.config.text_config.max_position_embeddings
            batch = self.tokenizer([medium], truncation=True, max_length=length, return_tensors="pt")
            pooled = self.model.get_text_features(**batch).pooler_output
        elif isinstance(medium, Image | Video):
            batch = self.processor([frame.to_pil() for frame in frames_of(medium)], return_tensors="pt")
            pooled = self.model.get_image_features(**batch).pooler_output
        else:
            raise ValueError(f"CLIP takes pictures, clips and texts, but {type(medium).__name__} was given")
        found: Floats = pooled.double().mean(0).numpy()
        return found
