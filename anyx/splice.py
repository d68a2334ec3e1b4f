"""Lays the tokens of each medium where its single placeholder stands.

A sequence of ids holds one `PLACEHOLDER` a medium. `splice` widens every placeholder to the real tokens of its
medium, drops padding, and packs the rows again, to the right for training or to the left for generation. It is pure,
differentiable in embeddings and tokens, and says where each old position went.

Letters: b rows, s old length, t new length, d width, m media items of one key, n tokens of an item.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anyx.context import Context
from anyx.interfaces import Tokens

PLACEHOLDER = -1  # the id that stands for one medium
IGNORE = -100  # the label of a position that is not supervised

Media = tuple[Int[Tensor, " m"], Int[Tensor, " m"], Tokens]  # rows, positions, tokens
Side = Literal["right", "left"]  # where padding goes


class Spliced(NamedTuple):
    """`embeddings` (b, t, d), `mask` (b, t), `labels` (b, t), `index` (b, s): old position -> new, -1 for padding.

    The index of a placeholder is where its medium begins. `context` is what an LLM's adapters read beside it.
    """

    embeddings: Float[Tensor, "b t d"]
    mask: Bool[Tensor, "b t"]
    labels: Int[Tensor, "b t"]
    index: Int[Tensor, "b s"]  # type: ignore[assignment]
    context: Context | None = None


def splice(
    embeddings: Float[Tensor, "b s d"],
    ids: Int[Tensor, "b s"],
    media: Mapping[str, Media],
    mask: Bool[Tensor, "b s"],
    labels: Int[Tensor, "b s"],
    *,
    side: Side = "right",
) -> Spliced:
    """Put each medium's real tokens in the place of its placeholder; padding goes to `side`."""
    check_placeholders(ids, media)
    lengths = mask.long()
    for rows, positions, tokens in media.values():
        lengths[rows, positions] = tokens.mask.sum(1)
    ends = lengths.cumsum(1)
    totals = ends[:, -1]
    longest = int(totals.max())
    shift = longest - totals[:, None] if side == "left" else torch.zeros_like(totals[:, None])
    starts = ends - lengths + shift

    row, old = (mask & (ids != PLACEHOLDER)).nonzero(as_tuple=True)
    new = starts[row, old]
    where, what = [(row, new)], [embeddings[row, old]]
    for rows, positions, tokens in media.values():
        item, _ = tokens.mask.nonzero(as_tuple=True)
        offset = tokens.mask.cumsum(1)[tokens.mask] - 1
        where.append((rows[item], starts[rows, positions][item] + offset))
        what.append(tokens.values[tokens.mask].to(embeddings.dtype))
    place = torch.cat([r for r, _ in where]), torch.cat([c for _, c in where])
    columns = torch.arange(longest, device=ids.device)
    return Spliced(
        embeddings.new_zeros(len(ids), longest, embeddings.shape[-1]).index_put(place, torch.cat(what)),
        (columns >= shift) & (columns < shift + totals[:, None]),
        labels.new_full((len(ids), longest), IGNORE).index_put((row, new), labels[row, old]),
        starts.masked_fill(~mask, -1),
    )


def check_placeholders(ids: Int[Tensor, "b s"], media: Mapping[str, Media]) -> None:
    """Raise ValueError unless every placeholder has exactly one medium."""
    found = int((ids == PLACEHOLDER).sum())
    received = sum(len(rows) for rows, _, _ in media.values())
    taken = {
        place for rows, positions, _ in media.values() for place in zip(rows.tolist(), positions.tolist(), strict=True)
    }
    if found != received or len(taken) != received:
        counts = ", ".join(f"{len(rows)} {key}" for key, (rows, _, _) in media.items()) or "none"
        raise ValueError(
            f"found {found} placeholders but received {received} media ({counts}); "
            "each medium has exactly one placeholder"
        )
    stray = [place for place in sorted(taken) if int(ids[place]) != PLACEHOLDER]
    if stray:
        raise ValueError(f"media were given for (row, position) {stray}, where no placeholder stands")
