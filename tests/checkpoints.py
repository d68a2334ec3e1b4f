"""Published checkpoints made from their facts: the keys that PyTorch's and PEFT's own modules have, of any size.

Nothing here looks at the converters' tables. Facts: reference sheet A1.2, A1.4 and A6 (NExT-GPT v1), C (PandaGPT).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

TRUE = {"width": 4096, "encoded": 1024, "rows": 32038, "layers": 32, "rank": 32, "hidden": 512, "inner": 2048}
TRUE |= {"depth": 4, "image": (77, 768), "video": (77, 1024), "audio": (1, 512)}  # type: ignore[dict-item]
SMALL = {"width": 32, "encoded": 12, "rows": 330 + 38, "layers": 2, "rank": 4, "hidden": 8, "inner": 16}
SMALL |= {"depth": 2, "image": (5, 12), "video": (5, 12), "audio": (1, 6)}  # type: ignore[dict-item]
PROJECTIONS = {
    "image": "gen_text_hidden_fcs",
    "video": "gen_text_hidden_fcs_video",
    "audio": "gen_text_hidden_fcs_audio",
}


class TextFc(nn.Module):
    """NExT-GPT's output projection, in PyTorch's own modules: four heads, pre-norm, no dropout."""

    def __init__(self, width: int, length: int, dim: int, *, hidden: int, inner: int, depth: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, hidden)
        layer = nn.TransformerEncoderLayer(hidden, 4, inner, 0.0, batch_first=True, norm_first=True)
        encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(hidden), enable_nested_tensor=False)  # no warning
        self.tfm = nn.Transformer(
            hidden, 4, depth, depth, inner, 0.0, custom_encoder=encoder, batch_first=True, norm_first=True
        )
        self.query_embs = nn.Parameter(torch.randn(1, length, hidden))
        self.model = nn.Linear(hidden, dim)

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        queries = self.query_embs.expand(len(states), -1, -1)
        result: Tensor = self.model(self.tfm(self.fc(states + embeddings), queries))
        return result


def lora(sizes: dict[str, int], prefix: str, adapter: str = ".default") -> dict[str, tuple[int, ...]]:
    """LoRA of all four projections of attention."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(sizes["layers"]):
        for side in "qkvo":
            name = f"{prefix}model.layers.{layer}.self_attn.{side}_proj.lora_"
            shapes[f"{name}A{adapter}.weight"] = (sizes["rank"], sizes["width"])
            shapes[f"{name}B{adapter}.weight"] = (sizes["width"], sizes["rank"])
    return shapes


def text_fc(sizes: dict[str, int], key: str) -> TextFc:
    """One output projection."""
    length, dim = sizes[key]  # type: ignore[misc]
    return TextFc(sizes["width"], length, dim, hidden=sizes["hidden"], inner=sizes["inner"], depth=sizes["depth"])


def nextgpt(sizes: dict[str, int], *, stage: int = 3) -> dict[str, tuple[int, ...]]:
    """Names and shapes of NExT-GPT v1's `pytorch_model.pt` after a stage."""
    prefix = "llama_model.base_model.model." if stage == 3 else "llama_model."
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}model.embed_tokens.weight": (sizes["rows"], sizes["width"])}
    shapes |= lora(sizes, prefix) if stage == 3 else {}
    shapes[f"{prefix}lm_head.weight"] = (sizes["rows"], sizes["width"])
    shapes |= {"llama_proj.weight": (sizes["width"], sizes["encoded"]), "llama_proj.bias": (sizes["width"],)}
    for key, name in PROJECTIONS.items():
        with torch.device("meta"):
            state = text_fc(sizes, key).state_dict()
        shapes |= {f"{name}.0.{inner}": tuple(tensor.shape) for inner, tensor in state.items()}
    return shapes


def pandagpt(sizes: dict[str, int], adapter: str = ".default") -> dict[str, tuple[int, ...]]:
    """Names and shapes of PandaGPT's delta checkpoint."""
    shapes = lora(sizes, "llama_model.base_model.model.", adapter)
    return shapes | {"llama_proj.weight": (sizes["width"], sizes["encoded"]), "llama_proj.bias": (sizes["width"],)}


def random(shapes: dict[str, tuple[int, ...]], dtype: torch.dtype = torch.float16) -> OrderedDict[str, nn.Parameter]:
    """Random weights as the published code saves them: an ordered mapping of half-precision parameters."""
    tensors = {name: nn.Parameter((0.2 * torch.randn(shape)).to(dtype)) for name, shape in shapes.items()}
    return OrderedDict(tensors)
