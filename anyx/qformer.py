"""Q-Former: learned queries read encoder tokens through BERT layers with cross-attention. Torch only.

Queries attend to each other in every layer and to the encoder's tokens in every `cross_every`-th, then pass a
feed-forward of their own; each of the three is followed by its LayerNorm (post-norm). BLIP-2 (arXiv 2301.12597) has 12
layers with cross-attention in every other, NExT-GPT's projectors 2 with it in both. InstructBLIP (arXiv 2305.06500)
lays the instruction's words behind the queries: both attend to all, the words pass BERT's own feed-forward and never
see the encoder's tokens. Parameter names are those of the published checkpoints below `Qformer`; without a `vocabulary`
what is for words is not there. The query tokens belong to who uses it.

Letters: b items, q queries, t words, n encoder tokens, d width of the queries, c width of the encoder's tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from anyx import weights
from anyx.layers import attend

DEVIATION = 0.02  # BERT's `initializer_range`: its weights and the query tokens start so
EPS = 1e-12
RENAMED = {"gamma": "weight", "beta": "bias"}  # LayerNorms in BERT checkpoints converted from TensorFlow


class Dense(nn.Module):
    """A linear map, added to what it is given besides, normalised: how every part of a BERT layer ends."""

    def __init__(self, dim_in: int, dim: int, dropout: float):
        super().__init__()
        self.dense = nn.Linear(dim_in, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b q k"], residual: Float[Tensor, "b q d"]) -> Float[Tensor, "b q d"]:
        """Map, add, normalise."""
        return self.LayerNorm(residual + self.dropout(self.dense(x)))  # type: ignore[no-any-return]


class Attend(nn.Module):
    """BERT's attention of the queries to each other, or to a context of another width."""

    def __init__(self, dim: int, context: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        widths = {"query": dim, "key": context, "value": context}
        self.self = nn.ModuleDict({name: nn.Linear(width, dim) for name, width in widths.items()})
        self.output = Dense(dim, dim, dropout)

    def forward(
        self, x: Float[Tensor, "b q d"], context: Float[Tensor, "b n c"], mask: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b q d"]:
        """Attend to the real tokens of the context."""
        q, k, v = self.self["query"](x), self.self["key"](context), self.self["value"](context)
        return self.output(attend(q, k, v, self.heads, mask, dropout=self.dropout * self.training), x)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """A BERT layer with cross-attention or without, for queries and, if it is to read `text`, the words behind them."""

    def __init__(self, dim: int, context: int | None, heads: int, hidden: int, dropout: float, *, text: bool = False):
        super().__init__()
        self.attention = Attend(dim, dim, heads, dropout)
        self.crossattention = None if context is None else Attend(dim, context, heads, dropout)
        self.intermediate_query = nn.ModuleDict({"dense": nn.Linear(dim, hidden)})
        self.output_query = Dense(hidden, dim, dropout)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(dim, hidden)}) if text else None
        self.output = Dense(hidden, dim, dropout) if text else None

    def forward(
        self,
        x: Float[Tensor, "b s d"],
        context: Float[Tensor, "b n c"],
        mask: Bool[Tensor, "b n"] | None,
        queries: int,
        real: Bool[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b s d"]:
        """Attend to all that is `real`; the first `queries` of s attend to the context as well; map."""
        x = self.attention(x, x, real)
        x, words = x[:, :queries], x[:, queries:]
        if self.crossattention is not None:
            x = self.crossattention(x, context, mask)
        x = self.output_query(F.gelu(self.intermediate_query["dense"](x)), x)
        if self.intermediate is None or self.output is None:
            return x
        return torch.cat([x, self.output(F.gelu(self.intermediate["dense"](words)), words)], dim=1)


class QFormer(nn.Module):
    """Queries (b, q, dim) that read tokens (b, n, context) through `layers` BERT layers of `heads` heads.

    Layers 0, `cross_every`, 2 `cross_every`, ... have cross-attention. `hidden` is the feed-forward's width (default
    4 dim), `dropout` BERT's own: on attention and on what is added, in training. With a `vocabulary` of so many words
    it may read an instruction too, of at most `positions` words.
    """

    def __init__(
        self,
        dim: int,
        context: int,
        *,
        layers: int,
        heads: int,
        cross_every: int = 1,
        hidden: int | None = None,
        dropout: float = 0.1,
        vocabulary: int | None = None,
        positions: int = 512,
    ):
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads must divide the Q-Former's width: given heads={heads}, width {dim}")
        if min(layers, cross_every) < 1:
            raise ValueError(f"layers and cross_every must be at least 1, given {layers} and {cross_every}")
        text = vocabulary is not None
        stack = [
            Layer(dim, None if i % cross_every else context, heads, hidden or 4 * dim, dropout, text=text)
            for i in range(layers)
        ]
        embeddings: dict[str, nn.Module] = {}
        if vocabulary is not None:
            embeddings["word_embeddings"] = nn.Embedding(vocabulary, dim)
            embeddings["position_embeddings"] = nn.Embedding(positions, dim)
        self.positions = positions if text else 0
        self.bert = nn.ModuleDict(
            {
                "embeddings": nn.ModuleDict({**embeddings, "LayerNorm": nn.LayerNorm(dim, eps=EPS)}),
                "encoder": nn.ModuleDict({"layer": nn.ModuleList(stack)}),
            }
        )
        self.dropout = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=DEVIATION)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=DEVIATION)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        context: Float[Tensor, "b n c"],
        mask: Bool[Tensor, "b n"] | None = None,
        *,
        words: Int[Tensor, "b t"] | None = None,
        real: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """Read the context, and the instruction's words; `mask` and `real` are True at the real ones of each."""
        return self.states(queries, context, mask, words=words, real=real)[:, : queries.shape[1]]

    def states(
        self,
        queries: Float[Tensor, "b q d"],
        context: Float[Tensor, "b n c"],
        mask: Bool[Tensor, "b n"] | None = None,
        *,
        words: Int[Tensor, "b t"] | None = None,
        real: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b s d"]:
        """What `forward` gives, the words' own states behind it."""
        embeddings: Any = self.bert["embeddings"]
        x, count = queries, queries.shape[1]
        if words is not None:
            if words.shape[1] > self.positions:
                told = f"reads at most {self.positions} words" if self.positions else "reads none: it has no vocabulary"
                raise ValueError(f"an instruction of {words.shape[1]} words was given; this Q-Former {told}")
            places = embeddings["position_embeddings"].weight[: words.shape[1]]
            x = torch.cat([x, embeddings["word_embeddings"](words) + places], dim=1)
            real = None if real is None else F.pad(real, (count, 0), value=True)
        x = self.dropout(embeddings["LayerNorm"](x))
        for layer in self.bert["encoder"]["layer"]:  # type: ignore[index]
            x = layer(x, context, mask, count, real)
        return x  # type: ignore[no-any-return]

    def start_from(self, path: str | Path) -> None:
        """Begin with a BERT's weights: a .safetensors or PyTorch file, or a folder of either; deeper layers are left.

        Its first LayerNorm, self-attention and feed-forward (as that of the queries, BLIP-2's way; of words too) are
        taken over, all of them or ValueError; cross-attention, which BERT has not, stays as it is, and so do words of
        the vocabulary past BERT's (BLIP-2's "[DEC]"). On `meta` nothing is read.
        """
        own = {name.removeprefix("bert."): p for name, p in self.named_parameters() if "crossattention" not in name}
        if any(parameter.is_meta for parameter in own.values()):
            return
        found = {_named(key): tensor for key, tensor in _read(Path(path)).items()}
        wanted = {name: name.replace("_query", "") for name in own}
        missing = [theirs for theirs in wanted.values() if theirs not in found]
        if missing:
            raise ValueError(f"{path} lacks {len(missing)} of the {len(own)} BERT weights wanted, first {missing[0]!r}")
        table = "embeddings.word_embeddings.weight"
        if table in own and len(found[table]) < len(own[table]):
            found[table] = torch.cat([found[table], own[table].detach()[len(found[table]) :]])
        wrong = [name for name, theirs in wanted.items() if found[theirs].shape != own[name].shape]
        if wrong:
            theirs, ours = tuple(found[wanted[wrong[0]]].shape), tuple(own[wrong[0]].shape)
            raise ValueError(f"{path}: {len(wrong)} weights misfit, first {wanted[wrong[0]]!r}: {theirs}, not {ours}")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(found[wanted[name]])


def _named(key: str) -> str:
    """A BERT's key without `bert.` at its head, a LayerNorm's leaf in PyTorch's words."""
    stem, _, leaf = key.removeprefix("bert.").rpartition(".")
    return f"{stem}.{RENAMED.get(leaf, leaf)}"


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint; no code in it is run."""
    places = [path / "model.safetensors", path / "pytorch_model.bin"] if path.is_dir() else [path]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise ValueError(f"no weights at {path}; give a .safetensors or .bin file, or a folder of one")
    _, state = weights.read(file)
    return state
