"""Classifiers of transformers as embedders of pictures or sounds, from a local folder: logits, or what these read.

Any with a config.json that names a known architecture will do (ViT, ResNet, AST): weights are safetensors, and code in
the folder is not run. Logits give inception scores and KL, features a Frechet distance or KID.

Letters: n media, t frames, d features or labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from anyx.digests import bytes_of, digest
from anyx.media import Audio, Image, Video
from anyx.scoring.embedders import Medium
from anyx.scoring.features import Floats
from anyx.scoring.inception_v3 import Output
from anyx.scoring.similarity import frames_of


class Classifier:
    """`features` (the mean of the last hidden states over places) or `logits` of each medium; of a clip their mean.

    Whether it hears or sees, its feature extractor says. ValueError: `path` is no folder of a classifier.
    """

    def __init__(self, path: str | Path, *, output: Output = "features", device: str = "cpu") -> None:
        if output not in get_args(Output):
            raise ValueError(f"output: {output!r} is not one of {', '.join(get_args(Output))}")
        if not (Path(path) / "config.json").is_file():
            raise ValueError(f"path: {str(path)!r} is no folder with a config.json; a classifier is read from one")
        from transformers import (
            AutoFeatureExtractor,
            AutoImageProcessor,
            AutoModelForAudioClassification,
            AutoModelForImageClassification,
        )

        file = Path(path) / "preprocessor_config.json"
        said = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        self.rate: int | None = said.get("sampling_rate")
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        reader, net = AutoImageProcessor, AutoModelForImageClassification
        if self.rate is not None:
            reader, net = AutoFeatureExtractor, AutoModelForAudioClassification
        try:
            self.reader: Any = reader.from_pretrained(path, **options)
            self.net: Any = net.from_pretrained(path, use_safetensors=True, **options).eval().to(device)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"path: {path} holds no classifier: {str(error).splitlines()[0]}") from error
        self.output, self.device = output, device
        weights = [part for name, value in sorted(self.net.state_dict().items()) for part in (name, bytes_of(value))]
        self.name = f"{self.net.config.model_type}@{Path(path).name} {output}#{digest(*weights)[:12]}"
        probe: Any = Image(torch.zeros(3, 32, 32, dtype=torch.uint8))
        self.dim = len(self._of(probe if self.rate is None else Audio(torch.zeros(1, self.rate), self.rate)))

    def __call__(self, media: Sequence[Medium]) -> Floats:
        """Features or logits (n, d); a ValueError for what it neither sees nor hears."""
        found = [self._of(medium) for medium in media]
        return np.stack(found) if found else np.zeros((0, self.dim))

    @torch.inference_mode()
    def _of(self, medium: Medium) -> Floats:
        sound = medium.audio if isinstance(medium, Video) else medium
        if self.rate is not None and isinstance(sound, Audio):
            samples = sound.mono().resample(self.rate).samples[0].numpy()
            batch = self.reader(samples, sampling_rate=self.rate, return_tensors="pt")
        elif self.rate is None and isinstance(medium, Image | Video):
            batch = self.reader([frame.to_pil() for frame in frames_of(medium)], return_tensors="pt")
        else:
            takes = "pictures and clips" if self.rate is None else "sounds"
            raise ValueError(f"{self.net.config.model_type} takes {takes}, but {type(medium).__name__} was given")
        found = self.net(**batch.to(self.device), output_hidden_states=self.output == "features")
        values = found.logits if self.output == "logits" else found.hidden_states[-1]
        if values.ndim == 4:  # of convolutions: (t, d, h, w)
            values = values.flatten(2).transpose(1, 2)
        means: Floats = values.double().mean(tuple(range(values.ndim - 1))).cpu().numpy()
        return means
