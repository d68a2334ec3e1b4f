"""BLIP-2's eye and Q-Former (arXiv 2301.12597), frozen as one: what MiniGPT-4 puts before one linear map.

EVA-CLIP-g with its class token, BLIP-2's LayerNorm, and 32 learned queries that read the tokens: (32, 768) a picture.
Through transformers' `Blip2VisionModel` and `Blip2QFormerModel`, under the names of a whole BLIP-2 of transformers, of
which only these parts are read. Where the Q-Former is to learn, it is an input projector instead: `type: qformer`.

Letters: b items, t frames, q queries, d width, h height, w width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anyx import weights
from anyx.interfaces import Encoder, TextBatch, Tokens
from anyx.signatures import Count, require

from .eva_clip import EvaClipEncoder

PREFIXES = {"vision_model.": "eye.tower.", "qformer.": "qformer.", "query_tokens": "query_tokens"}
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


class Blip2Encoder(Encoder):
    """`path` is a folder or hub id of a whole BLIP-2; `config` are sizes of a random tower, `qformer` of a Q-Former.

    `eps` is that of BLIP-2's LayerNorm: LAVIS, and so MiniGPT-4, has 1e-5, transformers' port 1e-6. A video is read
    frame by frame, the queries of its `frames` frames laid end to end.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        config: Mapping[str, Any] | None = None,
        qformer: Mapping[str, Any] | None = None,
        queries: Count = 32,
        eps: float = 1e-5,
        frames: Count = 4,
    ):
        super().__init__()
        from transformers import Blip2Config, Blip2QFormerConfig, Blip2QFormerModel

        if (path is None) == (config is None):
            raise ValueError("give either path (a folder or hub id of a BLIP-2) or config (sizes of a random tower)")
        require("qformer", qformer or {}, Blip2QFormerConfig)
        sizes: dict[str, Any] = {"encoder_hidden_size": (config or {}).get("hidden_size", 1408), **(qformer or {})}
        if path is not None:
            found = Blip2Config.from_pretrained(path)
            config, sizes = found.vision_config.to_diff_dict(), found.qformer_config.to_diff_dict()
            queries = found.num_query_tokens
        known = {name: value for name, value in (config or {}).items() if name not in ("model_type", "dtype")}
        self.eye = EvaClipEncoder(config=known, eps=eps, frames=frames)
        reader = Blip2QFormerConfig(**sizes)
        self.qformer: nn.Module = Blip2QFormerModel(reader)
        self.query_tokens = nn.Parameter(torch.zeros(1, queries, reader.hidden_size))
        nn.init.normal_(self.query_tokens, std=reader.initializer_range)
        self.dim: int = reader.hidden_size
        self.transform = self.eye.transform
        if path is not None and not self.query_tokens.is_meta:
            state = {_here(name): tensor for name, tensor in stored(path).items()}
            own = {name: tensor.shape for name, tensor in self.state_dict().items()}
            wrong = [
                name for name in own.keys() | state.keys() if name not in state or own.get(name) != state[name].shape
            ]
            if wrong:
                raise ValueError(f"{path}: its config.json and weights disagree about {', '.join(sorted(wrong)[:8])}")
            self.load_state_dict(state)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode pixels (b, 3, h, w) to (b, q, d), or (b, t, 3, h, w) to (b, t q, d)."""
        pixels = inputs["pixels"]
        seen = self.eye({"pixels": pixels.flatten(0, -4)}).values
        queries = self.query_tokens.expand(len(seen), -1, -1)
        states = self.qformer(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state
        return Tokens.full(states.reshape(len(pixels), -1, self.dim))


def stored(path: str) -> dict[str, Tensor]:
    """The tensors of a BLIP-2 that are read here, from the files of its folder or hub id that hold any."""
    from transformers.utils import cached_file

    one = Path(path, WEIGHTS)
    if one.is_file():
        files = [one]
    else:
        index = json.loads(Path(str(cached_file(path, INDEX))).read_text())["weight_map"]
        names = dict.fromkeys(file for name, file in index.items() if name.startswith(tuple(PREFIXES)))
        files = [Path(str(cached_file(path, name))) for name in names]
    found: dict[str, Tensor] = {}
    for file in files:
        wanted = [name for name in weights.read(file, only=())[0] if name.startswith(tuple(PREFIXES))]
        found |= weights.read(file, only=wanted)[1]
    return found


def _here(name: str) -> str:
    there = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    return PREFIXES[there] + name.removeprefix(there)
