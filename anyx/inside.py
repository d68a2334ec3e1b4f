"""Media that go into adapters of the LLM: where they stand in the sequence, and what the layers read of them.

`into` maps an input's key to the names of the adapters that its media go into; media of other keys are in the sequence.

Letters: b rows, s positions before splicing, t after, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anyx.context import Context
from anyx.interfaces import Adapter, Layout, Placed, Tokens
from anyx.splice import IGNORE, PLACEHOLDER, Media, Side, Spliced, sent, splice

Into = Mapping[str, Sequence[str]]


class Text(NamedTuple):
    """Conversations with a placeholder a medium, embedded."""

    embeddings: Float[Tensor, "b s d"]
    ids: Int[Tensor, "b s"]
    mask: Bool[Tensor, "b s"]
    labels: Int[Tensor, "b s"]


def lay(
    text: Text, places: Mapping[str, Media], adapters: Mapping[str, Adapter], into: Into, *, side: Side = "right"
) -> Spliced:
    """Splice the media that stand in the sequence, and let the adapters read theirs."""
    standing = dict(places)
    for key, (rows, positions, tokens) in places.items():
        if not all(adapters[name].spliced for name in into[key]):
            nothing = tokens.values.new_zeros(len(rows), 0, text.embeddings.shape[-1])
            standing[key] = rows, positions, Tokens.full(nothing)
    spliced = splice(text.embeddings, text.ids, standing, text.mask, text.labels, side=side)
    if not adapters:
        return spliced
    there = spliced.embeddings.device
    layout = Layout(spliced.embeddings, sent(spliced.mask, there), sent(asked(spliced, text.ids), there))
    readings = {}
    for name, adapter in adapters.items():
        mine = [media for key, media in places.items() if name in into[key]]
        placed = [
            Placed(sent(rows, there), sent(spliced.index[rows, at], there), tokens, sent(at, there))
            for rows, at, tokens in mine
        ]
        readings[name] = adapter.read(layout, placed)
    return spliced._replace(context=Context(readings))


def asked(spliced: Spliced, ids: Int[Tensor, "b s"]) -> Bool[Tensor, "b t"]:
    """Where the words of the instruction are: no medium's, before the first answer."""
    rows, old = ((ids != PLACEHOLDER) & (spliced.index >= 0)).nonzero(as_tuple=True)
    words = torch.zeros_like(spliced.mask)
    words[rows, spliced.index[rows, old]] = True
    return words & ((spliced.labels != IGNORE).cumsum(1) == 0)


def checked(into: Into, adapters: Mapping[str, Adapter]) -> Into:
    """The same; ValueError where an input's media go into an adapter that is not there."""
    for key, names in into.items():
        if missing := [name for name in names if name not in adapters]:
            told = f"{missing[0]!r} is no adapter of the LLM (it has {', '.join(adapters) or 'none'})"
            raise ValueError(f"inputs.{key}.into: {told}")
    return into
