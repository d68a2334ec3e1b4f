"""ImageBind's trunks: transformer, head and scale of one modality, under the published checkpoint's key names.

Written from facts (arXiv 2305.05665 and the checkpoint's keys and shapes). A trunk is four modules that the published
file keeps in four mappings, `modality_{preprocessors,trunks,heads,postprocessors}.<name>`; `attach` lays them there.
A pre-norm transformer over the stem's tokens; LayerNorm, pick one token, project; unit length; a scale.

Letters: b items (media times clips), n tokens, d width, o out_dim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.layers import Block

from .imagebind_sizes import ImuSizes, Sizes, TextSizes, VisionSizes
from .imagebind_stems import GridPreprocessor, ImuPreprocessor, TextPreprocessor


class Transformer(nn.Module):
    """The blocks; the vision trunk normalises once before them."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        vision = isinstance(sizes, VisionSizes)
        self.causal = isinstance(sizes, TextSizes)
        self.pre_transformer_layer = nn.Sequential(nn.LayerNorm(sizes.dim, eps=1e-6)) if vision else nn.Identity()
        if sizes.depth < 1:
            raise ValueError(f"depth: a trunk has at least one block, but {sizes.depth} was given")
        self.blocks = nn.ModuleList(
            Block(sizes.dim, sizes.heads, mlp_ratio=sizes.mlp_ratio, bias_kv=sizes.bias_kv) for _ in range(sizes.depth)
        )

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Run the blocks."""
        x = self.pre_transformer_layer(x)
        for block in self.blocks:
            x = block(x, causal=self.causal)
        return x

    def at(self, x: Float[Tensor, "b n d"], place: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """The state of one token an item: what `forward` makes of it, but of the last block only its row."""
        x = self.pre_transformer_layer(x)
        *before, last = self.blocks
        for block in before:
            x = block(x, causal=self.causal)
        assert isinstance(last, Block)
        rows, columns = torch.arange(len(x), device=x.device), torch.arange(x.shape[1], device=x.device)
        earlier = columns <= place[:, None] if self.causal else None
        normal = last.norm_1(x)
        one = x[rows, place][:, None] + last.attn(normal[rows, place][:, None], normal, mask=earlier)
        return (one + last.mlp(last.norm_2(one)))[:, 0]  # type: ignore[no-any-return]


class TextHead(nn.Module):
    """The text trunk's head under its published names `proj.0`, `proj.1`."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.proj = nn.Sequential(nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, out_dim, bias=False))

    def forward(self, x: Float[Tensor, "b *n d"]) -> Float[Tensor, "b *n o"]:
        """Normalise and project."""
        return self.proj(x)  # type: ignore[no-any-return]


class LogitScale(nn.Module):
    """A factor exp(log_logit_scale), at most 100: learned for text, elsewhere a constant."""

    def __init__(self, scale: float, *, learned: bool):
        super().__init__()
        value = torch.full((), math.log(scale))
        if learned:
            self.log_logit_scale = nn.Parameter(value)
        else:
            self.register_buffer("log_logit_scale", value)

    def forward(self, x: Float[Tensor, "b *n o"]) -> Float[Tensor, "b *n o"]:
        """Scale."""
        return x * self.log_logit_scale.exp().clamp(max=100).to(x.dtype)


def attach(mappings: Sequence[nn.ModuleDict], name: str, sizes: Sizes) -> None:
    """Build the trunk `name` into the four mappings: preprocessors, trunks, heads, postprocessors."""
    preprocessors, trunks, heads, postprocessors = mappings
    norm, project = nn.LayerNorm(sizes.dim, eps=1e-6), nn.Linear(sizes.dim, sizes.out_dim, bias=False)
    if isinstance(sizes, TextSizes):
        preprocessors[name] = TextPreprocessor(sizes)
        heads[name] = TextHead(sizes.dim, sizes.out_dim)
    elif isinstance(sizes, ImuSizes):
        preprocessors[name] = ImuPreprocessor(sizes)
        heads[name] = nn.Sequential(norm, nn.Identity(), nn.Identity(), project)  # the published head drops out too
    else:
        preprocessors[name] = GridPreprocessor(sizes)
        heads[name] = nn.Sequential(norm, nn.Identity(), project)
    learned = isinstance(sizes, TextSizes)
    scale = None if sizes.scale is None else LogitScale(sizes.scale, learned=learned)
    postprocessors[name] = nn.Identity() if scale is None else nn.Sequential(nn.Identity(), scale)
    trunks[name] = Transformer(sizes)


def embed(
    mappings: Sequence[nn.ModuleDict], name: str, x: Tensor, *, scaled: bool, patches: bool = False
) -> Float[Tensor, "b *n o"]:
    """Run one trunk: tokens, transformer, head, unit length, scale, then the mean over clips."""
    preprocessors, trunks, heads, postprocessors = mappings
    if name not in trunks:
        raise ValueError(f"trunk: {name!r} is not one of {', '.join(trunks)}")
    preprocess, trunk = preprocessors[name], trunks[name]
    assert isinstance(preprocess, GridPreprocessor | ImuPreprocessor | TextPreprocessor)
    assert isinstance(trunk, Transformer)
    items, several = len(x), x.ndim > preprocess.rank  # (b, s, ...): clips or views of an item
    dtype = next(trunk.parameters()).dtype
    x = (x.flatten(0, 1) if several else x).to(dtype if x.is_floating_point() else x.dtype)
    reads_ids = isinstance(preprocess, TextPreprocessor)
    if patches:
        states = trunk(preprocess(x))[:, 0 if reads_ids else 1 :]
    elif reads_ids:
        ends = x.argmax(-1)
        states = trunk.at(preprocess(x[:, : int(ends.max()) + 1]), ends)  # nothing after its end reaches a token
    else:
        states = trunk.at(preprocess(x), torch.zeros(len(x), dtype=torch.long, device=x.device))
    y = F.normalize(heads[name](states), dim=-1)
    y = postprocessors[name](y) if scaled else y
    return y.reshape(items, -1, *y.shape[1:]).mean(1) if several else y
