"""States of an LLM that is frozen: what stands before the first thing that learns is read without gradients.

Where no weight of the body learns, gradients reach only signal tokens and media whose projectors learn. In a stage that
teaches signal tokens at the end of an answer that is a handful of positions: all before them run once under `no_grad`,
and the rest attends to their keys and values. States and gradients are those of one pass over everything.

Letters: b rows, s positions before splicing, t after, p of the prefix, n of the rest, d width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from anyx.llm import LLM
from anyx.schema import Pack
from anyx.splice import Media, Spliced, picked, sent
from anyx.unpadded import allowed

SHARE = 0.9  # of what one pass costs, forward and back: what two may cost to be worth their own overhead


def states(llm: LLM, spliced: Spliced, learns: Bool[Tensor, "b s"], pack: Pack = False) -> Float[Tensor, "b t d"]:
    """Last hidden states of rows padded on the right; of what stands before all that `learns`, without gradients.

    Where one pass over everything is made, it is by `pack`.
    """
    alone = spliced.context is None and not llm.shared_out
    fixed = alone and not any(parameter.requires_grad for parameter in llm.model.parameters())
    if not (torch.is_grad_enabled() and fixed and spliced.embeddings.requires_grad):
        return llm.states(spliced.embeddings, spliced.mask, None, spliced.context, pack=pack)
    lengths = spliced.mask.sum(1)
    first = torch.where(learns & (spliced.index >= 0), spliced.index, lengths[:, None]).amin(1)
    twice = len(lengths) * (int(first.max()) + 2 * int((lengths - first).max()))  # pads included
    once = 2 * (int(lengths.sum()) if allowed(pack, llm.model) else spliced.mask.numel())
    if twice > SHARE * once:
        return llm.states(spliced.embeddings, spliced.mask, pack=pack)
    head, heads = window(first - first.max(), first)  # padded on the left, so that the rest follows at once
    tail, tails = window(first, lengths)
    cache = DynamicCache(config=llm.model.config.get_text_config(decoder=True))
    rows = torch.arange(len(first), device=first.device)[:, None]
    width = spliced.mask.shape[1]

    def read(columns: Int[Tensor, "b n"], mask: Bool[Tensor, "b p"]) -> Float[Tensor, "b n d"]:
        embedded = picked(spliced.embeddings, (rows * width + columns.clamp(0, width - 1)).flatten())
        return llm.states(embedded.reshape(*columns.shape, -1), mask, cache)

    def laid(
        found: Float[Tensor, "a d"], new: Float[Tensor, "b n d"], columns: Int[Tensor, "b n"], real: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "a d"]:
        places = sent((rows * width + columns)[real], found.device)
        return found.index_copy(0, places, picked(new, real.flatten().nonzero().flatten()))

    with torch.no_grad():
        before = read(head, heads)
        found = laid(before.new_zeros(spliced.mask.numel(), before.shape[-1]), before, head, heads)
    if tail.shape[1]:
        found = laid(found, read(tail, torch.cat([heads, tails], 1)), tail, tails)
    return found.reshape(*spliced.mask.shape, -1)


def window(starts: Int[Tensor, " b"], ends: Int[Tensor, " b"]) -> tuple[Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """Columns from each row's start on, as many as the longest row has, and which of them lie in the row."""
    columns = starts[:, None] + torch.arange(int((ends - starts).max()), device=starts.device)
    return columns, (columns >= 0) & (columns < ends[:, None])


def learning(llm: LLM, ids: Int[Tensor, "b s"], media: Mapping[str, Media]) -> Bool[Tensor, "b s"]:
    """Which positions' embeddings want gradients: signal tokens' and media's, where they learn."""
    learns = (ids >= llm.vocabulary) & llm.signal_tokens.embedding.requires_grad
    for rows, positions, tokens in media.values():
        learns[rows, positions] = tokens.values.requires_grad
    return learns
