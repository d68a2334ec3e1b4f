"""Zero-init prompts: learned keys and values beside the words, behind a gate that is closed in the beginning.

LLaMA-Adapter (arXiv 2303.16199) and V2 (2304.15010): in each of the last layers the queries, turned by their positions,
also attend to prompts, in a softmax of their own; what they find is weighed with `tanh(gate)` a head and added to what
the output projection reads. The prompts' keys and values are made by the LLM's own projections, without LoRA and
without rotation. Media are added to the prompts of every layer; with one prompt a layer (ImageBind-LLM, 2309.03905) the
softmax is 1 and the value itself is added.

Letters: b rows, s positions, l prompts of a layer, k layers, m media, h heads, f features of a head, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyx.adapters.body import FRAME, Body, Frame, inner
from anyx.adapters.families import FAMILIES
from anyx.interfaces import Adapter, Layout, Placed, Reading
from anyx.signatures import Count


class ZeroInitPrompts(Adapter):
    """`tokens` prompts in each of the last `layers` layers (LLaMA-Adapter V2: 10 in 31, ImageBind-LLM: 1 in 32).

    A medium that goes into it has as many tokens, or one for all prompts; of several in a row the mean is added.
    `scaled` gives each layer one more factor, 1 in the beginning.
    """

    spliced = False

    def __init__(self, body: Body, name: str, *, layers: Count, tokens: Count, scaled: bool = False) -> None:
        super().__init__()
        parts = body.family[2:6]
        if None in parts:
            known = [kind for kind, one in FAMILIES.items() if one.query]
            raise ValueError(f"zero-init prompts read a layer's queries: they know {', '.join(known)}")
        if not 1 <= layers <= len(body.layers) or tokens < 1:
            told = f"layers: {layers} and tokens: {tokens} given"
            raise ValueError(f"{told}; the LLM has {len(body.layers)} layers, and prompts are 1 or more")
        self.name, self.dim, self.heads, self.rotary = name, body.dim, body.heads, body.family.rotary
        self.prompts = nn.Parameter(torch.randn(layers, tokens, body.dim) * 0.02)
        self.gates = nn.ParameterList([nn.Parameter(torch.zeros(body.heads)) for _ in range(layers)])
        ones = [nn.Parameter(torch.ones(1)) for _ in range(layers)] if scaled else []
        self.scales = nn.ParameterList(ones)
        for place, layer in enumerate(body.layers[len(body.layers) - layers :]):
            query, key, value, output = (layer.get_submodule(str(path)) for path in parts)
            for module in (query, output):
                body.claim(inner(module), name)
            query.register_forward_hook(partial(note, name))  # others' hooks are prepended: they change the queries
            output.register_forward_pre_hook(partial(add, self, place, (inner(key), inner(value))))

    def read(self, layout: Layout, media: Sequence[Placed]) -> Reading:
        """The mean of each row's media, zero where it has none."""
        batch, length = len(layout.mask), self.prompts.shape[1]
        like = layout.embeddings if not media else media[0].tokens.values
        total, count = like.new_zeros(batch, length, self.dim), like.new_zeros(batch)
        for rows, _, tokens, _ in media:
            if tokens.values.shape[1] not in (1, length):
                raise ValueError(f"{self.name}: a medium has {tokens.values.shape[1]} tokens, a layer {length} prompts")
            total = total.index_add(0, rows, tokens.values.expand(-1, length, -1).to(total.dtype))
            count = count.index_add(0, rows, torch.ones_like(rows, dtype=count.dtype))
        return Reading({"media": total / count.clamp(min=1)[:, None, None]})

    def found(
        self,
        place: int,
        projections: tuple[nn.Module, nn.Module],
        queries: Float[Tensor, "b s hf"],
        frame: Frame,
    ) -> Float[Tensor, "b s hf"]:
        """What queries find among the prompts of the `place`-th hooked layer, behind the gate."""
        prompts = self.prompts[place][None]
        if "media" in frame.of(self.name):
            prompts = prompts + frame.of(self.name)["media"].to(prompts.dtype)
        kind = next(projections[0].parameters()).dtype
        keys, values = (one.forward(prompts.to(kind)).to(queries.dtype) for one in projections)  # past any hook
        q = queries.reshape(*queries.shape[:2], self.heads, -1).transpose(1, 2)
        if self.rotary == "half":
            q = turned(q, *frame.given["position_embeddings"])
        k, v = (part.reshape(*part.shape[:2], -1, q.shape[-1]).transpose(1, 2) for part in (keys, values))
        k, v = (part.repeat_interleave(self.heads // part.shape[1], 1) for part in (k, v))
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).float().softmax(-1)
        y: Tensor = ((self.opened(place)[:, None, None] * weights).to(v.dtype) @ v).transpose(1, 2).flatten(2)
        return y

    def opened(self, place: int) -> Float[Tensor, " h"]:
        """How far the gates of a hooked layer are open."""
        gate: Tensor = self.gates[place].float().tanh()
        return gate * self.scales[place].float() if len(self.scales) else gate


def turned(
    q: Float[Tensor, "b h s f"], cos: Float[Tensor, "#b s f"], sin: Float[Tensor, "#b s f"]
) -> Float[Tensor, "b h s f"]:
    """Queries turned by their positions, half against half (RoPE)."""
    first, second = q.chunk(2, -1)
    return q * cos[:, None] + torch.cat([-second, first], -1) * sin[:, None]


def note(name: str, module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
    """After the query projection, LoRA and all: keep the queries for the end of the attention."""
    frame = FRAME.get()
    if frame is not None:
        frame.notes[name, "queries"] = output


def add(
    adapter: ZeroInitPrompts,
    place: int,
    projections: tuple[nn.Module, nn.Module],
    module: nn.Module,
    given: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """Before the output projection: add what was found among the prompts."""
    frame = FRAME.get()
    if frame is None:
        return given
    found = adapter.found(place, projections, frame.notes.pop((adapter.name, "queries")), frame)
    return (given[0] + found.to(given[0].dtype).reshape(given[0].shape), *given[1:])
