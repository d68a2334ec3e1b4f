"""Encode, then project: a deep transformer over the signal states at the LLM's width, two linear maps to the condition.

MetaQuery's best connector ("Enc-Proj"). Its published sizes fix the layout: 24 layers at width 896 are 316 M parameters
and 6 are 84 M, projecting first and encoding 24 layers at 2304 is 2046 M. All three hold for 16 d^2 a layer, as of full
attention (4 d^2) and a gated MLP of width 4 d (12 d^2), and a projection of two maps d -> out -> out at out = 2304.
What counts cannot tell is our choice: RMSNorm before each half and at the end, bias on queries, keys and values (both
as in Qwen2), rotary positions, heads of 64.

Letters: b groups, s signal tokens, n places that are encoded, l length of a condition, d width, f features of a head.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import Condition, OutputProjector, Tokens
from anyx.layers import attend

HEAD = 64
EPS = 1e-6
BASE = 10000.0  # of the rotary positions' wavelengths
COPIES = 100.0  # the slowest wave that tells copies of a state apart, in copies per radian


class ConnectorBlock(nn.Module):
    """Pre-norm: attention to all places with rotary positions, then a gated MLP; one of `layers`."""

    def __init__(self, dim: int, heads: int, hidden: int, layers: int):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.RMSNorm(dim, eps=EPS), nn.RMSNorm(dim, eps=EPS)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim, bias=False)
        self.gate, self.up = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)
        last = 0.02 * (2 * layers) ** -0.5  # so that many layers begin as steadily as few (GPT-2)
        for part, std in ((self.qkv, 0.02), (self.gate, 0.02), (self.up, 0.02), (self.out, last), (self.down, last)):
            nn.init.normal_(part.weight, std=std)
        nn.init.zeros_(self.qkv.bias)

    def forward(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Attend, then map; `mask` is True at real places."""
        q, k, v = self.qkv(self.norm_1(x)).chunk(3, dim=-1)
        x = x + self.out(attend(rotated(q, self.heads), rotated(k, self.heads), v, self.heads, mask))
        y = self.norm_2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))  # type: ignore[no-any-return]


class ConnectorOutputProjector(OutputProjector):
    """A bidirectional encoder of `layers` at the LLM's width over the states, then two linear maps to each condition.

    Best with as many signal tokens as the condition is long (MetaQuery: 64 and more). Of more, the first `length` make
    the condition, having read the others; of fewer, each stands for several places. Input embeddings are not read.
    `hidden` maps the states to another width first (24 layers at the 4096 of a 7 B LLM are 6.5 B parameters); `heads`
    defaults to heads of 64.
    """

    def __init__(
        self,
        dim_in: int,
        condition: Mapping[str, tuple[int, int]],
        *,
        layers: int = 24,
        hidden: int | None = None,
        heads: int | None = None,
        mlp_ratio: int = 4,
    ):
        super().__init__()
        width = hidden or dim_in
        count = width // HEAD if heads is None else heads
        if count < 1 or width % (2 * count):
            raise ValueError(f"heads must divide the width into even parts: given heads={heads}, width {width}")
        if layers < 1 or not condition:
            raise ValueError(f"layers must be at least 1 and a condition be named: given {layers}, {dict(condition)}")
        self.lengths = {name: length for name, (length, _) in condition.items()}
        self.fc = nn.Identity() if hidden is None else nn.Linear(dim_in, hidden)
        self.blocks = nn.ModuleList(ConnectorBlock(width, count, mlp_ratio * width, layers) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=EPS)
        self.conditions = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(width, dim), nn.GELU(), nn.Linear(dim, dim))
                for name, (_, dim) in condition.items()
            }
        )

    def forward(self, states: Tokens, embeddings: Float[Tensor, "b s d"] | None = None) -> Condition:
        """Encode the real states, project."""
        values = self.fc(states.values).to(states.values.dtype)  # under autocast sums stay in the states' own type
        x, mask = laid_out(values, states.mask, max(self.lengths.values()))
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        return Condition.full({name: part(x[:, : self.lengths[name]]) for name, part in self.conditions.items()})


def laid_out(
    values: Float[Tensor, "b s d"], mask: Bool[Tensor, "b s"], length: int
) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
    """The real states of each item from place 0 on, wherever its padding was; at least the first `length` are real.

    Of fewer states each is laid out several times, and waves of no amplitude at the first tell its copies apart.
    """
    size, dim = values.shape[1:]
    count = mask.sum(1, keepdim=True).clamp(min=1)
    repeats = (length - 1) // count + 1
    places = torch.arange(max(length, size), device=values.device)
    rank = places // repeats
    order = mask.int().argsort(dim=1, descending=True, stable=True)
    index = order.gather(1, rank.clamp(max=size - 1))
    laid = (values * mask[..., None]).gather(1, index[..., None].expand(-1, -1, dim))
    waves = COPIES ** (-torch.arange(dim, device=values.device) / dim)
    return laid + ((places % repeats)[..., None] * waves).sin().to(laid.dtype), places < count.clamp(min=length)


def rotated(x: Float[Tensor, "b n d"], heads: int) -> Float[Tensor, "b n d"]:
    """Every head's halves turned against each other by angles that grow with the place (RoPE, arXiv 2104.09864)."""
    features = x.shape[-1] // heads
    waves = BASE ** (-torch.arange(0, features, 2, device=x.device) / features)
    angles = torch.arange(x.shape[1], device=x.device)[:, None, None] * waves  # n 1 f/2
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.reshape(*x.shape[:2], heads, 2, -1).unbind(-2)
    return torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-2).flatten(2)
