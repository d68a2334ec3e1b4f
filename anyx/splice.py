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
from anyx.layers import offsets

PLACEHOLDER = -1  # the id that stands for one medium
IGNORE = -100  # the label of a position that is not supervised

Media = tuple[Int[Tensor, " m"], Int[Tensor, " m"], Tokens]  # rows, positions, tokens
Side = Literal["right", "left"]  # where padding goes


class Spliced(NamedTuple):
    """`embeddings` (b, t, d), `mask` (b, t), `labels` (b, t), `index` (b, s): old position -> new, -1 for padding.

    The index of a placeholder is where its medium begins. `context` is what an LLM's adapters read beside it. All but
    these two are where the ids were, on the host in training.
    """

    embeddings: Float[Tensor, "b t d"]
    mask: Bool[Tensor, "b t"]
    labels: Int[Tensor, "b t"]
    index: Int[Tensor, "b s"]  # type: ignore[assignment]
    context: Context | None = None


def sent(x: Tensor, device: torch.device | str) -> Tensor:
    """On a device, without waiting for what that still has to do; for the way there, as what comes back may be late."""
    return x.to(device, non_blocking=True)


def splice(
    embeddings: Float[Tensor, "b s d"],
    ids: Int[Tensor, "b s"],
    media: Mapping[str, Media],
    mask: Bool[Tensor, "b s"],
    labels: Int[Tensor, "b s"],
    *,
    side: Side = "right",
) -> Spliced:
    """Put each medium's real tokens in the place of its placeholder; padding goes to `side`.

    What stands where (`ids`, rows, positions, `mask`, `labels`) is worked out on the device of `ids`, best the host,
    and stays there; embeddings and tokens are moved on theirs.
    """
    check_placeholders(ids, media)
    lengths = mask.long()
    for rows, positions, tokens in media.values():
        lengths[rows, positions] = tokens.lengths(ids.device)
    ends = lengths.cumsum(1)
    totals = ends[:, -1]
    longest = int(totals.max())
    shift = longest - totals[:, None] if side == "left" else torch.zeros_like(totals[:, None])
    starts = ends - lengths + shift

    row, old = (mask & (ids != PLACEHOLDER)).nonzero(as_tuple=True)
    new = starts[row, old]
    where, what = [row * longest + new], [picked(embeddings, row * ids.shape[1] + old)]
    for rows, positions, tokens in media.values():
        item, offset, real = standing(tokens, ids.device)
        where.append(rows[item] * longest + starts[rows, positions][item] + offset)
        what.append(tokens.values.flatten(0, 1) if real is None else picked(tokens.values, real))
    columns = torch.arange(longest, device=ids.device)
    laid = embeddings.new_zeros(len(ids) * longest, embeddings.shape[-1])
    place = sent(torch.cat(where), embeddings.device)
    return Spliced(
        laid.index_copy(0, place, torch.cat([x.to(embeddings.dtype) for x in what])).reshape(len(ids), longest, -1),
        (columns >= shift) & (columns < shift + totals[:, None]),
        labels.new_full((len(ids), longest), IGNORE).index_put((row, new), labels[row, old]),
        starts.masked_fill(~mask, -1),
    )


def picked(x: Float[Tensor, "b s d"], places: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """What stands at places among (b * s)."""
    return x.flatten(0, 1).index_select(0, sent(places, x.device))


def following(
    states: Float[Tensor, "b t d"], index: Int[Tensor, "b s"], rows: Int[Tensor, " m"], old: Int[Tensor, " m"], n: int
) -> Float[Tensor, "m n d"]:
    """The states at `n` positions, from where old positions stand now on."""
    columns = index[rows, old][:, None] + torch.arange(n, device=index.device)
    return picked(states, (rows[:, None] * states.shape[1] + columns).flatten()).reshape(*columns.shape, -1)


def standing(
    tokens: Tokens, device: torch.device
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"] | None]:
    """Of every real token its item, its place among the item's, and its place among all; None where all are real."""
    if tokens.whole:
        items, count = tokens.values.shape[:2]
        each = torch.arange(items * count, device=device)
        return each // max(count, 1), each % max(count, 1), None
    mask = tokens.mask.to(device)
    item, place, _ = offsets(mask)
    return item, place, mask.flatten().nonzero().flatten()


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
