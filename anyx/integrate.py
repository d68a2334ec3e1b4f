"""Continuous integrate-and-fire: frames into tokens, as many as their weights add up to. Torch only.

Every frame has a weight in (0, 1). Weights are added up from left to right; each time the sum has grown by one, a token
is made: the mean of the frames since the last, by their weights, a frame on the border counting for both (CIF, arXiv
1905.11235; the computation of MingLunHan/CIF-PyTorch, whose parameter names these are). In training the weights of an
item are scaled so that they make as many tokens as its transcript has, and a loss on their sum before that teaches them
to do so alone.

The published code walks over frames. Here token u has gathered G(u, t) by frame t, which is 0 before the sum C passes
u, C(t) - u while it is being filled, and 1 afterwards. Its weights are G's steps in t; one matrix product makes all.

What was wrong there is right by default, and back with `published=True`. What is left over 0.5 after the last frame
makes a token, which never happened to an item as long as its batch. A frame whose scaled weight is above 1 makes
several tokens at once, where it made one and the rest counted negatively in the next. Padding reaches no weight, though
the convolution read it. And an item makes at least one token.

Letters: b items, t frames, u tokens, d width.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional as F

Weighing = Literal["conv", "dense", "sigmoid"]
ROUNDING = 1e-5  # scaled weights add up to their target but for rounding: a token this near to whole is whole
EPS = 1e-10


class Fired(NamedTuple):
    """`values` (b, u, d) and `mask` (b, u) of the tokens; `quantity` (b,) is the sum of the weights before scaling.

    `weights` (b, t) are the weights before scaling, 0 at padding.
    """

    values: Float[Tensor, "b u d"]
    mask: Bool[Tensor, "b u"]
    quantity: Float[Tensor, " b"]
    weights: Float[Tensor, "b t"]


def integrate_and_fire(
    values: Float[Tensor, "b t d"],
    weights: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    *,
    threshold: float = 1.0,
    tail: float | None = 0.5,
    published: bool = False,
) -> tuple[Float[Tensor, "b u d"], Bool[Tensor, "b u"]]:
    """Tokens of frames under weights that are 0 at padding, and which of them are real.

    A token is made once its sum reaches `threshold`, and is given a sum of 1 in any case: what it lacks is taken from
    what follows. What is left after the last frame makes one more, scaled up, if its sum is above `tail`; with `tail`
    None it is dropped. An item for which nothing else is made has that last token whatever its sum.
    """
    total = (weights.double() * mask).cumsum(1)
    whole = (total.detach() + (1 - threshold + ROUNDING)).floor().long()  # tokens made by frame t
    frames = torch.arange(mask.shape[1], device=mask.device)
    if published:  # one a frame: a count may not grow faster than the frames do
        whole = 1 + frames + (whole - frames - 1).cummin(1).values.clamp(max=0)
    last = (mask * frames).argmax(1, keepdim=True)
    made = whole.gather(1, last)
    whole = torch.where(frames > last, made, whole)
    left, extra = total[:, -1:] - made, torch.zeros_like(made, dtype=torch.bool)
    if tail is not None:
        rows = mask.all(1, keepdim=True), mask.any(1, keepdim=True)
        extra = (left > tail) & ~rows[0] if published else (left > tail) | ((made == 0) & rows[1])
    count: Int[Tensor, "b 1"] = made + extra
    shaped = values.is_meta or isinstance(values, FakeTensor)  # a plan: as many tokens as frames at most
    longest = values.shape[1] if shaped else max(1, int(count.max()))
    tokens = torch.arange(longest, device=values.device)
    real = tokens < count
    kind = torch.promote_types(values.dtype, torch.float32)
    scale = torch.where(extra & (tokens == made), 1 / (left + EPS), real).to(kind)
    part = (total - whole).to(kind)
    here = whole[:, None, :] - tokens[None, :, None]  # b u t: over 0 where the token is made, 0 where it is filled
    gathered = torch.where(here == 0, part[:, None, :], (here > 0).to(kind))
    shares = gathered.diff(dim=2, prepend=gathered.new_zeros(*gathered.shape[:2], 1)) * scale[..., None]
    return shares.to(values.dtype) @ values, real


class IntegrateAndFire(nn.Module):
    """Weighs frames (b, t, dim), and integrates them into tokens (b, u, `dim_out`, default `dim`).

    `kind` is how a frame is weighed: by a convolution of `width` frames, by a layer with ReLU, or at once; then one
    number, and its sigmoid. `dropout` is the convolution's.
    """

    def __init__(
        self,
        dim: int,
        *,
        dim_out: int | None = None,
        kind: Weighing = "conv",
        width: int = 3,
        dropout: float = 0.0,
        threshold: float = 1.0,
        tail: float | None = 0.5,
        published: bool = False,
    ):
        super().__init__()
        if kind not in get_args(Weighing):
            raise ValueError(f"kind: {kind!r} is not one of {', '.join(get_args(Weighing))}")
        if width < 1 or not width % 2:
            raise ValueError(f"width must be odd, given {width}")
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be above 0 and at most 1, given {threshold}")
        if tail is not None and not 0 <= tail < 1:
            raise ValueError(f"tail must be 0 or more and under 1, or null, given {tail}")
        self.kind, self.threshold, self.tail, self.published = kind, threshold, tail, published
        if kind == "conv":
            self.conv = nn.Conv1d(dim, dim, width, padding=width // 2)
            self.dropout = nn.Dropout(dropout)
        elif kind == "dense":
            self.dense_proj = nn.Linear(dim, dim)
        self.weight_proj = nn.Linear(dim, 1)
        same = dim_out is None or dim_out == dim
        self.cif_output_proj = nn.Identity() if same else nn.Linear(dim, dim_out or dim, bias=False)

    def weigh(self, values: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """The weight of every frame, 0 at padding."""
        x = values
        if self.kind == "conv":
            read = x if self.published else x * mask[..., None]
            x = self.dropout(self.conv(read.mT).mT)
        elif self.kind == "dense":
            x = F.relu(self.dense_proj(x))
        return self.weight_proj(x).squeeze(-1).float().sigmoid() * mask  # type: ignore[no-any-return]

    def forward(
        self, values: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"], count: Num[Tensor, " b"] | None = None
    ) -> Fired:
        """Weigh, integrate. In training an item of which `count` is known, over 0, makes so many tokens."""
        weights = self.weigh(values, mask)
        quantity = weights.sum(1)
        scaled, tail = weights, self.tail
        if count is not None and self.training:
            known = count > 0
            exact = weights.double()  # rounded as float32, the sum of some hundred misses its target by a token
            scaled = exact * torch.where(known, count / exact.sum(1).clamp(min=EPS), 1.0)[:, None]
            tail = None if known.all() or self.published else tail
        elif self.training and self.published:
            tail = None
        tokens, real = integrate_and_fire(
            values, scaled, mask, threshold=self.threshold, tail=tail, published=self.published
        )
        return Fired(self.cif_output_proj(tokens), real, quantity, weights)
