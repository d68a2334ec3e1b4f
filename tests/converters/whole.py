"""Files that hold a whole model: their true keys, and what they compute, straight from their own tensors.

Nothing here looks at the converters' tables. Facts: reference sheet 1.7, 1.8, 1.14 and 1.15, and the names in the
goldens `09_qwen_vl` and `11_mplug_owl`; the names within CogVLM's and mPLUG-Owl's towers as their users list them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import tiny
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PretrainedConfig

from anyx import AnyX, Image

Shapes = dict[str, tuple[int, ...]]
Map = Callable[[Tensor], Tensor]
HEADS = 16  # of every tower


def both(name: str, *shape: int) -> Shapes:
    """A linear map with its bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def norm(name: str, dim: int) -> Shapes:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def write_base(folder: Path, config: PretrainedConfig) -> str:
    """An LLM that is a configuration and a tokenizer: the weights are the checkpoint's."""
    config.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return str(folder)


def state_of(shapes: Shapes) -> dict[str, Tensor]:
    """Random weights; norms about 1."""
    made = {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}
    return {name: x + 1 if len(x.shape) == 1 and name.endswith("weight") else x for name, x in made.items()}


def linear(state: dict[str, Tensor], name: str) -> Map:
    return lambda x: F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def layer_norm(state: dict[str, Tensor], name: str, eps: float) -> Map:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return lambda x: F.layer_norm(x, weight.shape, weight, bias, eps)


def rms(weight: Tensor, eps: float) -> Map:
    return lambda x: x * (x.pow(2).mean(-1, keepdim=True) + eps).rsqrt() * weight


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, *, causal: bool = False) -> Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


class Layer(NamedTuple):
    """What a layer of an LLM does, part by part."""

    before: Map
    fused: Map  # to queries, keys and values, one beside the other
    out: Map
    after: Map
    mlp: Map


def decode(x: Tensor, positions: Tensor, layers: Sequence[Layer], last: Map, heads: int) -> Tensor:
    """A causal LM of LLaMA's kind over embeddings; halves of a head are rotated."""
    half = x.shape[-1] // heads // 2
    angles = positions[..., None].double() * 10000.0 ** (-torch.arange(half).double() / half)
    turn = torch.cat([angles, angles], -1).float()[:, :, None]

    def rotated(y: Tensor) -> Tensor:
        y = y.unflatten(-1, (heads, -1))
        first, second = y.chunk(2, -1)
        return (y * turn.cos() + torch.cat([-second, first], -1) * turn.sin()).flatten(2)

    for layer in layers:
        q, k, v = layer.fused(layer.before(x)).chunk(3, -1)
        x = x + layer.out(attend(rotated(q), rotated(k), v, heads, causal=True))
        x = x + layer.mlp(layer.after(x))
    return last(x)


def by_position(seen: Tensor, pictures: Map, words: Map) -> Map:
    """One map where `seen`, another elsewhere."""
    return lambda x: torch.where(seen[..., None], pictures(x), words(x))


class Answer(NamedTuple):
    """What a model makes of a conversation with one picture, and where the picture's tokens stand in it."""

    embeddings: Tensor
    logits: Tensor
    start: int
    count: int


def answer(model: AnyX, size: int) -> Answer:
    """The model's logits over a conversation with one picture of noise."""
    picture = Image(torch.randint(0, 255, (3, size, size), dtype=torch.uint8))
    content = [{"type": "image", "media": picture}, {"type": "text", "text": "What do you hear?"}]
    chat = [{"role": "user", "content": content}]
    batch = model.processor.collate([model.processor(chat, generate=True)], generate=True)
    with torch.no_grad():
        spliced, tokens = model.read(batch)
        states = model.llm.states(spliced.embeddings, spliced.mask, None, spliced.context)
        logits = model.llm.logits(states)
    return Answer(spliced.embeddings, logits, int(batch.inputs["image"].positions[0]), tokens["image"].values.shape[1])
