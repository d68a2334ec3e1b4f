"""Between an encoder and the LLM: linear, mlp, resampler. All carry (b, n, dim_in) to (b, m, dim_out).

`linear` and `mlp` map token by token and may expand each into several (`tokens`), for encoders that give one global
token; `resampler` reads any number of tokens into a fixed number with learned latents (Perceiver).

Letters: b media items, n encoder tokens, m LLM tokens, k tokens made of one.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from anyx.interfaces import InputProjector, Tokens
from anyx.layers import LatentResampler


class LinearInputProjector(InputProjector):
    """One linear map (NExT-GPT v1, PandaGPT, LLaVA); `tokens` LLM tokens for each encoder token.

    `norm` normalises each encoder token first, which helps where they are of unit length.
    """

    def __init__(self, dim_in: int, dim_out: int, *, tokens: int = 1, norm: bool = False):
        super().__init__()
        self.tokens = _positive("tokens", tokens)
        self.norm = nn.LayerNorm(dim_in) if norm else nn.Identity()
        self.proj = nn.Linear(dim_in, dim_out * tokens)

    def forward(self, x: Tokens) -> Tokens:
        """Map each token."""
        return _spread(x, self.proj(self.norm(x.values)), self.tokens)


class MLPInputProjector(InputProjector):
    """Linear maps with GELU between (LLaVA-1.5's `mlp2x_gelu` with `layers=2`); `hidden` is `dim_out` unless given."""

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        layers: int = 2,
        hidden: int | None = None,
        tokens: int = 1,
        norm: bool = False,
    ):
        super().__init__()
        self.tokens = _positive("tokens", tokens)
        widths = [dim_in, *[hidden or dim_out] * (_positive("layers", layers) - 1), dim_out * tokens]
        maps: list[nn.Module] = [nn.LayerNorm(dim_in) if norm else nn.Identity(), nn.Linear(widths[0], widths[1])]
        for i in range(1, layers):
            maps += [nn.GELU(), nn.Linear(widths[i], widths[i + 1])]
        self.proj = nn.Sequential(*maps)

    def forward(self, x: Tokens) -> Tokens:
        """Map each token."""
        return _spread(x, self.proj(x.values), self.tokens)


class ResamplerInputProjector(InputProjector):
    """`tokens` learned latents read the encoder's tokens through `depth` blocks of width `hidden`."""

    def __init__(
        self, dim_in: int, dim_out: int, *, tokens: int = 32, depth: int = 2, heads: int = 8, hidden: int | None = None
    ):
        super().__init__()
        width = hidden or max(heads, dim_in // heads * heads)
        self.proj_in = nn.Linear(dim_in, width)
        self.resampler = LatentResampler(width, _positive("tokens", tokens), depth=depth, heads=heads)
        self.proj_out = nn.Linear(width, dim_out)

    def forward(self, x: Tokens) -> Tokens:
        """Read all real tokens of an item into a fixed number."""
        return Tokens.full(self.proj_out(self.resampler(self.proj_in(x.values), x.mask)))


def _spread(x: Tokens, values: Float[Tensor, "b n kd"], k: int) -> Tokens:
    """Lay the k tokens made of one side by side; grids only survive k = 1."""
    if k == 1:
        return Tokens(values, x.mask, x.layout)
    return Tokens(values.reshape(len(values), -1, values.shape[-1] // k), x.mask.repeat_interleave(k, dim=1))


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, given {value}")
    return value
