"""Patches of pictures and clips put in line for an LLM: line ends, pooling, limits. Pure functions of one item.

Facts: LLaVA-NeXT (github.com/LLaVA-VL/LLaVA-NeXT, commit df17966), its `spatial_unpad`, `anyres_max_N`, `maxpool2x2`,
`nobase` and its pooling of frames.

Letters: n tokens of the item, w those of the whole picture, r rows, c columns, t frames, d width, m packed tokens.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FramePool = Literal["average", "max", "bilinear", "none"]
LineEnds = Literal["grid", "frame", "one_token", "no_token"]
STRIDE = 2
EXCESS = 1.1  # a limit is held once a side is longer by this factor


def pack_picture(
    tokens: Float[Tensor, "n d"],
    grid: tuple[int, int],
    newline: Float[Tensor, " d"] | None,
    *,
    whole: bool = True,
    limit: int | None = None,
    maxpool: bool = False,
) -> Float[Tensor, "m d"]:
    """The whole picture's w tokens (or not), then its grid with `newline` after each row.

    A grid of more than 1.21 x `limit` x w tokens is resized to fewer, bilinearly; `maxpool` keeps one of 2 x 2, and
    writes no line ends, as published.
    """
    rows, columns = grid
    before = len(tokens) - rows * columns
    assert before >= (limit is not None), f"{len(tokens)} tokens, but a grid of {rows} x {columns}"
    canvas = tokens[before:].reshape(1, rows, columns, tokens.shape[-1]).permute(0, 3, 1, 2)
    if maxpool:  # a grid may be one row, or none: what is left of a picture that is long and thin
        canvas, newline = F.max_pool2d(canvas, [min(side, 2) for side in grid]) if min(grid) else canvas, None
    elif limit is not None and (excess := math.sqrt(rows * columns / (limit * before))) > EXCESS:
        fewer = int(rows // excess), int(columns // excess)
        canvas = F.interpolate(canvas, fewer, mode="bilinear")
    lines = with_ends(canvas[0].permute(1, 2, 0), newline).flatten(0, 1)
    return torch.cat([tokens[:before], lines]) if whole else lines


def pack_frames(
    tokens: Float[Tensor, "n d"],
    grid: tuple[int, int, int],
    newline: Float[Tensor, " d"] | None,
    *,
    pool: FramePool = "bilinear",
    ends: LineEnds = "grid",
) -> Float[Tensor, "m d"]:
    """Frames of a clip, (t, r, c), each made a quarter as many tokens; `newline` after each row, frame, or the clip.

    `bilinear` keeps the odd row and column that `average` and `max` drop.
    """
    frames = tokens.reshape(*grid, -1).permute(0, 3, 1, 2)
    if pool == "bilinear":
        frames = F.interpolate(frames, [math.ceil(side / STRIDE) for side in grid[1:]], mode="bilinear")
    elif pool != "none":
        frames = (F.avg_pool2d if pool == "average" else F.max_pool2d)(frames, STRIDE)
    lines = frames.permute(0, 2, 3, 1)
    if ends == "grid":
        return with_ends(lines, newline).flatten(0, 2)
    if ends == "frame":
        return with_ends(lines.flatten(1, 2), newline).flatten(0, 1)
    flat = lines.flatten(0, 2)
    return with_ends(flat, newline) if ends == "one_token" else flat


def with_ends(lines: Float[Tensor, "*b n d"], newline: Float[Tensor, " d"] | None) -> Float[Tensor, "*b m d"]:
    """Every line with `newline` after it, if there is one."""
    if newline is None:
        return lines
    return torch.cat([lines, newline.to(lines.dtype).expand(*lines.shape[:-2], 1, -1)], dim=-2)


def check_choice(name: str, value: str, kind: object) -> None:
    """ValueError unless a value is one of those that a `Literal` lists."""
    if value not in get_args(kind):
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(get_args(kind))}")
