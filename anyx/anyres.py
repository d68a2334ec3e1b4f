"""Into the LLM's width, then into line: the projector of LLaVA-NeXT, for pictures of many tiles and for clips.

The map of each token is `mlp`'s. What comes after is the packing of `anyx/packing.py`, by the `layout` that the encoder
gives: (rows, columns) of a picture, (frames, rows, columns) of a clip. An item without a grid keeps its tokens and gets
one line end, as the published code writes it.

Letters: b media items, n encoder tokens, m LLM tokens, d width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from anyx.input_projectors import MLPInputProjector
from anyx.interfaces import InputProjector, Tokens
from anyx.packing import FramePool, LineEnds, check_choice, pack_frames, pack_picture, with_ends


class AnyResInputProjector(InputProjector):
    """`layers` linear maps with GELU between, then `newline`, one learned token, at the end of every row of patches.

    Of pictures: `whole` keeps the tokens of the whole picture before those of its grid (`nobase`: false), `limit` is
    the N of `anyres_max_N`, `maxpool` keeps one token of 2 x 2. Of clips: `frame_pool` makes four tokens one, and
    `frame_ends` says after what a line ends. `residual` blocks follow the linear maps (`mlpNx_resMx_gelu`).
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        layers: int = 2,
        hidden: int | None = None,
        residual: int = 0,
        newline: bool = True,
        whole: bool = True,
        limit: int | None = None,
        maxpool: bool = False,
        frame_pool: FramePool = "bilinear",
        frame_ends: LineEnds = "grid",
    ):
        super().__init__()
        check_choice("frame_pool", frame_pool, FramePool)
        check_choice("frame_ends", frame_ends, LineEnds)
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, given {limit}")
        self.mlp = MLPInputProjector(dim_in, dim_out, layers=layers, hidden=hidden, residual=residual)
        self.newline = nn.Parameter(torch.randn(dim_out) / dim_out**0.5) if newline else None
        self.whole, self.limit, self.maxpool = whole, limit, maxpool
        self.frame_pool, self.frame_ends = frame_pool, frame_ends

    def forward(self, x: Tokens) -> Tokens:
        """Map each token, then pack each item."""
        projected: Tokens = self.mlp(x)
        grids = projected.layout or (None,) * len(projected.values)
        each = zip(projected.values, projected.mask, grids, strict=True)
        counted = projected.mask.is_meta  # without values all tokens are real
        packed = [self._pack(values if counted else values[mask], grid) for values, mask, grid in each]
        values = pad_sequence(packed, batch_first=True)
        lengths = torch.tensor([len(item) for item in packed], device=values.device)
        return Tokens(values, torch.arange(values.shape[1], device=values.device) < lengths[:, None])

    def _pack(self, tokens: Float[Tensor, "n d"], grid: tuple[int, ...] | None) -> Float[Tensor, "m d"]:
        if grid is None:
            return with_ends(tokens, self.newline)
        if len(grid) == 3:
            return pack_frames(tokens, grid, self.newline, pool=self.frame_pool, ends=self.frame_ends)
        assert len(grid) == 2, f"{grid} is neither a picture's grid nor a clip's"
        return pack_picture(tokens, grid, self.newline, whole=self.whole, limit=self.limit, maxpool=self.maxpool)
