"""Macaw-LLM's connector: few tokens by a convolution, said in the LLM's own words by attention to its whole vocabulary.

A convolution over the encoder's tokens shortens them (1500 frames of Whisper to 6), a linear map carries them to the
LLM's width, and attention whose keys and values are the LLM's table of token embeddings turns each into a mixture of
words (arXiv 2306.09093; lyuchenyang/Macaw-LLM). One learned key and value and one of zeros stand beside the words. Of
videos the frames' tokens first attend to each other, with positions (`mix`).

Letters: b media items, n encoder tokens, m LLM tokens, d width, v words.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import InputProjector, Tokens
from anyx.layers import Attention


class LexiconInputProjector(InputProjector):
    """`kernel` tokens at every `stride`-th become one, then a mixture of the LLM's words, by `heads` heads.

    `hidden` is the width that the encoder's tokens are mapped to first, without a bias (CLIP's own projection), if
    given. With `mix` heads they attend to each other before they are shortened.
    """

    reads_vocabulary = True

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        kernel: int,
        stride: int,
        heads: int = 16,
        hidden: int | None = None,
        mix: int = 0,
    ):
        super().__init__()
        if min(kernel, stride) < 1:
            raise ValueError(f"kernel and stride must be at least 1, given {kernel} and {stride}")
        width = hidden or dim_in
        self.kernel, self.stride = kernel, stride
        self.proj_in = nn.Identity() if hidden is None else nn.Linear(dim_in, hidden, bias=False)
        self.mix = Attention(width, mix, bias_kv=True, zero_kv=True) if mix else None
        self.shorten = nn.Conv1d(width, width, kernel, stride)
        self.proj = nn.Linear(width, dim_out)
        self.attn = Attention(dim_out, heads, bias_kv=True, zero_kv=True)

    def forward(self, x: Tokens, vocabulary: Float[Tensor, "v d"] | None = None) -> Tokens:
        """Read (b, n, dim_in) and the table of words into (b, m, dim_out); without a table only widths are right."""
        queries = self.queries(x)
        table = queries.new_zeros(0, queries.shape[-1]) if vocabulary is None else vocabulary.to(queries.dtype)
        count = (x.mask.sum(1, keepdim=True) - self.kernel).div(self.stride, rounding_mode="floor") + 1
        places = torch.arange(queries.shape[1], device=queries.device)
        return Tokens(self.attn(queries, table[None]), places < count.clamp(min=1))

    def queries(self, x: Tokens) -> Float[Tensor, "b m d"]:
        """The shortened tokens at the LLM's width."""
        values = self.proj_in(x.values)
        if self.mix is not None:
            values = values + waves(values.shape[1], values.shape[-1], values.device).to(values.dtype)
            values = self.mix(values, mask=x.mask)
        values = F.pad(values * x.mask[..., None], (0, 0, 0, max(0, self.kernel - values.shape[1])))
        return self.proj(self.shorten(values.mT).mT)  # type: ignore[no-any-return]


def waves(count: int, dim: int, device: torch.device) -> Float[Tensor, "n d"]:
    """Sine and cosine by turns; the wavelengths grow twice as fast as a transformer's usually do, Macaw's way."""
    even = torch.arange(0, dim, 2, device=device, dtype=torch.float64)
    angles = torch.arange(count, device=device)[:, None] * 10000.0 ** (-2 * even / dim)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim].float()
