"""Rows laid end to end, without their padding, and attention that keeps them apart.

Position by position an LLM does the same to every row, so a padded batch (b, s) may as well be one row of its real
positions, (1, t): nothing is computed or kept for pads. Only attention has to know where rows end. It cuts the line
into groups of rows of one length, or of like lengths, and calls SDPA once a group. Within a group of like lengths rows
are filled up on the right: causal attention never sees what comes after, so neither the states nor the gradients of
real positions depend on it, and no mask is made.

What rows there are travels as a keyword of the body's forward, which transformers hands down to the attention of every
layer, also when gradient checkpointing recomputes it. So a body packs only where its family hands keywords down, has
position ids, and mixes positions by attention alone: `FAMILIES`, each held to the padded batch by a test.

Letters: b rows, s positions of the padded batch, t real positions, g rows of a group, n their length, h heads, f
features of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from anyx.schema import Pack
from anyx.splice import sent

NAME = "anyx_rows"
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "phi3", "opt", "gpt_neox", "gpt2")
LIKE = 0.1  # share of pads in a group where many small calls are dear; on a CPU they are not


@dataclass(frozen=True)
class Group:
    """Rows that one call of attention reads: `count` of `length`; `stand` and `lie` where some are shorter.

    `stand` (g * n,) says for each place which of the group's positions is read there, `lie` where those are read.
    """

    count: int
    length: int
    size: int
    stand: Int[Tensor, " p"] | None = None
    lie: Int[Tensor, " q"] | None = None

    def rows(self, x: Float[Tensor, "q h f"]) -> Float[Tensor, "g h n f"]:
        """Side by side; a view where all are of one length."""
        stood = x if self.stand is None else x.index_select(0, self.stand)
        return stood.reshape(self.count, self.length, *x.shape[1:]).transpose(1, 2)

    def line(self, y: Float[Tensor, "g n h f"]) -> Float[Tensor, "q h f"]:
        """End to end again."""
        flat = y.flatten(0, 1)
        return flat if self.lie is None else flat.index_select(0, self.lie)


@dataclass(frozen=True)
class Rows:
    """Where the real positions of a padded batch are, shorter rows first: `places` among (b * s)."""

    shape: torch.Size
    places: Int[Tensor, " t"]
    groups: Sequence[Group]

    @classmethod
    def of(
        cls, mask: Bool[Tensor, "b s"], device: torch.device | None = None, like: float | None = None
    ) -> Rows | None:
        """The rows of a mask, for a device; None where it holds no padding and this is the processor's.

        A group's pads are at most the share `like` of it. On a GPU rows without padding are laid end to end too, since
        transformers would look at what it was given to find that out, and wait for it.
        """
        there = mask.device if device is None else device
        like = (0.0 if there.type == "cpu" else LIKE) if like is None else like
        lengths: list[int] = mask.sum(1).tolist()
        if there.type == "cpu" and all(length == mask.shape[1] for length in lengths):
            return None
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        rows, real = torch.tensor(order), mask.cpu()
        places = (rows[:, None] * mask.shape[1] + torch.arange(mask.shape[1]))[real[rows]]
        some = alike([lengths[row] for row in order], like)
        return cls(mask.shape, sent(places, there), [group(lengths, there) for lengths in some])

    def read(
        self, body: nn.Module, embeddings: Float[Tensor, "b s d"], positions: Int[Tensor, "b s"]
    ) -> Float[Tensor, "b s d"]:
        """The body's last states; zeros where padding is."""
        kept = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=embeddings.device)  # transformers keeps a mask of 4 dims
        laid = {"inputs_embeds": self.lay(embeddings), "position_ids": self.lay(positions)}
        states: Tensor = body(**laid, attention_mask=kept, use_cache=False, rows=self).last_hidden_state
        flat = states.new_zeros(self.shape.numel(), states.shape[-1]).index_copy(0, self.places, states[0])
        return flat.reshape(*self.shape, -1)

    def lay(self, x: Tensor) -> Tensor:
        """(b, s, ...) as (1, t, ...)."""
        return x.flatten(0, 1).index_select(0, self.places)[None]


def alike(lengths: Sequence[int], like: float) -> list[list[int]]:
    """Sorted lengths in groups whose pads are at most a share of them; empty rows are left out."""
    groups: list[list[int]] = []
    for length, same in groupby(length for length in lengths if length):
        some = list(same)
        filled = [*groups[-1], *some] if groups else []
        if filled and sum(filled) >= (1 - like) * length * len(filled):
            groups[-1] = filled
        else:
            groups.append(some)
    return groups


def group(lengths: Sequence[int], device: torch.device) -> Group:
    """Rows of these lengths, the last the longest."""
    longest, size = lengths[-1], sum(lengths)
    if lengths[0] == longest:
        return Group(len(lengths), longest, size)
    each, columns = torch.tensor(lengths), torch.arange(longest)
    stand = (each.cumsum(0) - each)[:, None] + columns.minimum(each[:, None] - 1)  # pads read what comes last
    lie = (columns < each[:, None]).flatten().nonzero().flatten()
    return Group(len(lengths), longest, size, sent(stand.flatten(), device), sent(lie, device))


def attend(
    module: nn.Module,
    query: Float[Tensor, "b h s f"],
    key: Float[Tensor, "b k s f"],
    value: Float[Tensor, "b k s f"],
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    rows: Rows | None = None,
    **others: Any,  # of other implementations; SDPA reads none of them
) -> tuple[Float[Tensor, "b s h f"], None]:
    """Transformers' SDPA, of each row by itself where `rows` are laid end to end."""
    if rows is None:
        seen: Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling)[0]
        return seen, None
    sizes = [group.size for group in rows.groups]
    parts = zip(rows.groups, *(torch.split(x.transpose(1, 2)[0], sizes) for x in (query, key, value)), strict=True)
    found = []
    for group, *line in parts:
        window = band(group.length, sliding_window, query.device)
        seen = sdpa_attention_forward(module, *map(group.rows, line), window, dropout, scaling)[0]
        found.append(group.line(seen))
    return torch.cat(found)[None], None


def band(length: int, window: int | None, device: torch.device) -> Bool[Tensor, "n n"] | None:
    """Which keys a query sees that sees only the last `window`, itself included; None where these are all."""
    if window is None or window >= length:
        return None
    back = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return (back >= 0) & (back < window)


def seen(
    body: PreTrainedModel, mask: Bool[Tensor, "b t"], length: int, device: torch.device
) -> Bool[Tensor, "b t"] | Bool[Tensor, "b 1 n t"]:
    """The mask of real positions as a body gets it that reads the last `length` of them.

    On a GPU it says of every pair of positions whether one sees the other, where the body takes that: into one of two
    dimensions transformers looks for padding, and waits for the answer. Pads see themselves, or they would be NaN.
    """
    if device.type == "cpu" or body.config._attn_implementation != NAME or not plain(body):
        return sent(mask, device)
    return pairs(sent(mask, device), length)


def pairs(mask: Bool[Tensor, "b t"], length: int) -> Bool[Tensor, "b 1 n t"]:
    """Which of all positions each of the last `length` sees: the real ones up to itself, and itself."""
    keys = torch.arange(mask.shape[1], device=mask.device)
    queries = keys[mask.shape[1] - length :, None]
    return (keys <= queries) & mask[:, None, None] | (keys == queries)


def plain(body: PreTrainedModel) -> bool:
    """Whether every layer sees all that stands before, with no window."""
    layers = DynamicCache(config=body.config.get_text_config(decoder=True)).layers
    return all(type(layer) is DynamicLayer for layer in layers)


def prepare(model: PreTrainedModel) -> None:
    """Let a body attend to rows laid end to end, if it can; to all others it attends as before."""
    if model.config.model_type in FAMILIES and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def allowed(pack: Pack, model: PreTrainedModel, rowwise: Sequence[str] = ()) -> bool:
    """Whether a body reads rows end to end; ValueError where that was asked for (True) and it cannot.

    `rowwise` are adapters that read something of a row as a whole.
    """
    attention = model.config._attn_implementation
    if pack is True and attention != NAME:
        told = f"an LLM of type {model.config.model_type} with {attention} attention cannot"
        raise ValueError(f"pack: true given, but {told}; with sdpa these can: {', '.join(FAMILIES)}")
    if pack is True and rowwise:
        raise ValueError(f"pack: true given, but the adapters {', '.join(rowwise)} read each row as a whole")
    return bool(pack) and attention == NAME and not rowwise
