"""Between the LLM's signal tokens and a decoder's condition: transformer, qformer, linear, mlp.

A decoder names what it reads: `condition` maps a name to (length, dim). Each name gets its own projection, so a decoder
with several (SDXL's `prompt_embeds` and `pooled`) needs no more than a longer mapping. State dict keys are
`conditions.<name>.` + the published names of NExT-GPT's first projectors (`fc`, `query_embs`, `tfm`, `model`; `fc`,
`query_tokens`, `Qformer`, `model`); its second version says `in_fc` and `out_fc` for `fc` and `model`.

Letters: b groups, s signal tokens of a group, l length of a condition, d its width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import Condition, OutputProjector, Tokens
from anyx.layers import Standardise, stacked
from anyx.qformer import DEVIATION, QFormer

MEMORY = 100  # batches: the LLM, and with it its states, may be learning


class QueryTransformer(nn.Module):
    """NExT-GPT's TextFc transformer: signal states in, `length` learned queries read them, one linear map out.

    A pre-norm `nn.Transformer` with ReLU, final norms, no positions and no causal mask.
    """

    def __init__(
        self,
        dim_in: int,
        length: int,
        dim: int,
        *,
        hidden: int,
        layers: tuple[int, int],
        heads: int,
        ratio: int,
        query_std: float,
    ):
        super().__init__()
        layer = nn.TransformerEncoderLayer(hidden, heads, ratio * hidden, 0.0, batch_first=True, norm_first=True)
        encoder = nn.TransformerEncoder(layer, layers[0], nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.fc = nn.Linear(dim_in, hidden)
        self.query_embs = nn.Parameter(torch.randn(1, length, hidden) * query_std)
        self.tfm = nn.Transformer(
            hidden,
            heads,
            num_decoder_layers=layers[1],
            dim_feedforward=ratio * hidden,
            dropout=0.0,
            custom_encoder=encoder,
            batch_first=True,
            norm_first=True,
        )
        self.model = nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "b s dim_in"], mask: Bool[Tensor, "b s"]) -> Float[Tensor, "b l d"]:
        """Read the real states into the condition."""
        memory = self.tfm.encoder(self.fc(x), src_key_padding_mask=~mask)
        queries = self.query_embs.to(memory.dtype).expand(len(x), -1, -1)
        return self.model(self.tfm.decoder(queries, memory, memory_key_padding_mask=~mask))  # type: ignore[no-any-return]


class QueryReader(nn.Module):
    """NExT-GPT's TextFc qformer: the states at a Q-Former's width, `length` learned queries read them, one map out."""

    def __init__(self, dim_in: int, length: int, dim: int, *, qformer: QFormer, width: int):
        super().__init__()
        self.fc = nn.Linear(dim_in, width)
        self.query_tokens = nn.Parameter(torch.randn(1, length, width) * DEVIATION)
        self.Qformer = qformer
        self.model = nn.Linear(width, dim)

    def forward(self, x: Float[Tensor, "b s dim_in"], mask: Bool[Tensor, "b s"]) -> Float[Tensor, "b l d"]:
        """Read the real states into the condition."""
        context = self.fc(x)
        queries = self.query_tokens.to(context.dtype).expand(len(x), -1, -1)
        return self.model(self.Qformer(queries, context, mask))  # type: ignore[no-any-return]


class TokenMap(nn.Module):
    """Signal states, repeated or cut to `length`, each mapped by itself; the place in the condition is learned.

    GILL's linear form where there are as many signal tokens as the condition is long, or more: the first `length`.
    """

    def __init__(
        self, dim_in: int, length: int, dim: int, *, hidden: int | None, norm: bool = False, dropout: float = 0.0
    ):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.norm = Standardise(dim_in, memory=MEMORY) if norm else None
        self.fc = None if hidden is None else nn.Linear(dim_in, hidden)
        width = dim_in if hidden is None else hidden
        self.positions = nn.Parameter(torch.zeros(length, dim if hidden is None else width))
        self.model = nn.Linear(width, dim)

    def forward(self, x: Float[Tensor, "b s dim_in"], mask: Bool[Tensor, "b s"]) -> Float[Tensor, "b l d"]:
        """Map the states; those that are not real count as zero."""
        length = len(self.positions)
        repeats = -(-length // x.shape[1])
        x = (x * mask[..., None]).repeat_interleave(repeats, dim=1)[:, :length]
        if self.norm is not None:
            x = self.norm(x, mask.repeat_interleave(repeats, dim=1)[:, :length])
        x = self.dropout(x)
        if self.fc is None:
            return self.model(x) + self.positions  # type: ignore[no-any-return]
        return self.model(F.gelu(self.fc(x) + self.positions))  # type: ignore[no-any-return]


class TransformerOutputProjector(OutputProjector):
    """Learned queries read the signal states through a transformer, exactly as NExT-GPT's TextFc transformer.

    The signal tokens' input embeddings are added to their states. `layers` counts encoder layers, and decoder layers
    unless `decoder_layers` says otherwise. The queries start with a deviation of `query_std`: 1 in NExT-GPT's first
    version, 0 in its second, where all places of a condition are the same until they have learned.
    """

    def __init__(
        self,
        dim_in: int,
        condition: Mapping[str, tuple[int, int]],
        *,
        hidden: int = 512,
        layers: int = 4,
        decoder_layers: int | None = None,
        heads: int = 4,
        mlp_ratio: int = 4,
        query_std: float = 1.0,
    ):
        super().__init__()
        counts = (layers, layers if decoder_layers is None else decoder_layers)
        if heads < 1 or hidden % heads:
            raise ValueError(f"heads must divide hidden: given hidden={hidden}, heads={heads}")

        def make(length: int, dim: int) -> nn.Module:
            return QueryTransformer(
                dim_in, length, dim, hidden=hidden, layers=counts, heads=heads, ratio=mlp_ratio, query_std=query_std
            )

        self.conditions = _for_each(condition, make)

    def forward(self, states: Tokens, embeddings: Float[Tensor, "b s d"] | None = None) -> Condition:
        """Read states + embeddings."""
        return _project(self.conditions, _sum(states, embeddings))


class QFormerOutputProjector(OutputProjector):
    """Learned queries read the signal states through a BERT with cross-attention (NExT-GPT's `qformer`).

    The signal tokens' input embeddings are added to their states. `hidden` is the Q-Former's width: 768 in NExT-GPT's
    first version, `null` for the condition's own, as in its second. `init` is a BERT checkpoint to begin with (see
    `QFormer.start_from`); published: bert-base-uncased. A saved model holds what became of it, and needs it no more.
    """

    def __init__(
        self,
        dim_in: int,
        condition: Mapping[str, tuple[int, int]],
        *,
        hidden: int | None = 768,
        layers: int = 2,
        heads: int = 12,
        cross_every: int = 1,
        mlp_ratio: int = 4,
        dropout: float = 0.1,
        init: str | None = None,
    ):
        super().__init__()

        def make(length: int, dim: int) -> nn.Module:
            width = hidden or dim
            qformer = QFormer(
                width,
                width,
                layers=layers,
                heads=heads,
                cross_every=cross_every,
                hidden=mlp_ratio * width,
                dropout=dropout,
            )
            if init is not None:
                qformer.start_from(init)
            return QueryReader(dim_in, length, dim, qformer=qformer, width=width)

        self.conditions = _for_each(condition, make)

    def forward(self, states: Tokens, embeddings: Float[Tensor, "b s d"] | None = None) -> Condition:
        """Read states + embeddings."""
        return _project(self.conditions, _sum(states, embeddings))


class LinearOutputProjector(OutputProjector):
    """One linear map from a signal state to a place of the condition (GILL); input embeddings are not read."""

    def __init__(self, dim_in: int, condition: Mapping[str, tuple[int, int]]):
        super().__init__()
        self.conditions = _for_each(condition, lambda length, dim: TokenMap(dim_in, length, dim, hidden=None))

    def forward(self, states: Tokens, embeddings: Float[Tensor, "b s d"] | None = None) -> Condition:
        """Map the states."""
        return _project(self.conditions, states)


class MLPOutputProjector(OutputProjector):
    """Two linear maps with a GELU between, the place in the condition learned; input embeddings are not read.

    `norm: data` standardises every feature of the states by its statistics in training: an LLM's states have a few
    features that are a hundred times larger than what tells one reply from another, and drown it. `stack` lays that
    many neighbouring states end to end first; `dropout` hides that share of the features in training, so that replies
    to requests in other words do not hang on a few of them.
    """

    def __init__(
        self,
        dim_in: int,
        condition: Mapping[str, tuple[int, int]],
        *,
        hidden: int = 512,
        stack: int = 1,
        norm: Literal[False, "data"] = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        if stack < 1:
            raise ValueError(f"stack must be at least 1, given {stack}")
        self.stack = stack
        if norm not in (False, "data"):
            raise ValueError(f"norm: {norm!r} is not one of false, data")

        def make(length: int, dim: int) -> nn.Module:
            return TokenMap(stack * dim_in, length, dim, hidden=hidden, norm=norm == "data", dropout=dropout)

        self.conditions = _for_each(condition, make)

    def forward(self, states: Tokens, embeddings: Float[Tensor, "b s d"] | None = None) -> Condition:
        """Map the states, or each stack of states."""
        if self.stack > 1:
            states = Tokens(*stacked(states.values, states.mask, self.stack))
        return _project(self.conditions, states)


def _sum(states: Tokens, embeddings: Float[Tensor, "b s d"] | None) -> Tokens:
    return states if embeddings is None else states._replace(values=states.values + embeddings)


def _for_each(condition: Mapping[str, tuple[int, int]], make: Callable[[int, int], nn.Module]) -> nn.ModuleDict:
    if not condition:
        raise ValueError("condition is empty: a decoder names at least one (length, dim) that it reads")
    return nn.ModuleDict({name: make(*size) for name, size in condition.items()})


def _project(conditions: nn.ModuleDict, states: Tokens) -> Condition:
    return Condition.full({name: module(states.values, states.mask) for name, module in conditions.items()})
