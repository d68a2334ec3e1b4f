"""C-Former and S-adapter: X-LLM's way from a speech encoder's frames to tokens of the LLM (arXiv 2305.04160).

The C-Former integrates frames into as many tokens as the speech has (`anyx/integrate.py`); the S-adapter carries these
into the LLM, with a BERT between two linear maps (`bert`) or by one map (`fc`). The published system keeps the first
in another program, whose 512 features a token its repository reads from files; here it learns with the rest, by the
number of ids that each caption has: losses `text` or `align`, and `quantity`.

Letters: b items, t frames, u tokens, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.integrate import IntegrateAndFire, Weighing
from anyx.interfaces import InputProjector, Tokens
from anyx.layers import Standardise

Adapter = Literal["bert", "fc"]
UNUSED = ("embeddings.word_embeddings.", "pooler.")  # of a BERT that reads features, and is read token by token


class CFormerInputProjector(InputProjector):
    """Frames -> as many LLM tokens as their weights add up to.

    `weights`, `width`, `threshold`, `tail` and `published` are those of `IntegrateAndFire`, `tokens_dim` is the width
    of its tokens (X-LLM: 512; default: the encoder's), `dropout` that of its convolution and of the BERT. `adapter:
    bert` has `layers` of width `hidden` over at most `positions` tokens, X-LLM's being bert-base-chinese, which `init`
    names: a folder or hub id to begin with. Maps end in a ReLU, as published, unless `relu` is false. `norm: data`
    standardises every feature of the frames by its statistics in training, which often share a large mean.
    """

    counts = True
    parts: ClassVar[Sequence[str]] = ("cif", "pre", "bert", "post")

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        weights: Weighing = "conv",
        width: int = 3,
        dropout: float = 0.1,
        threshold: float = 1.0,
        tail: float | None = 0.5,
        published: bool = False,
        tokens_dim: int | None = None,
        adapter: Adapter = "bert",
        hidden: int = 768,
        layers: int = 12,
        heads: int = 12,
        mlp_ratio: int = 4,
        positions: int = 512,
        relu: bool = True,
        norm: Literal[False, "data"] = False,
        init: str | None = None,
    ):
        super().__init__()
        if adapter not in get_args(Adapter):
            raise ValueError(f"adapter: {adapter!r} is not one of {', '.join(get_args(Adapter))}")
        if norm not in (False, "data"):
            raise ValueError(f"norm: {norm!r} is not one of false, data")
        sizes = {"hidden": hidden, "layers": layers, "positions": positions, "mlp_ratio": mlp_ratio}
        for name, size in (sizes | {"tokens_dim": dim_in if tokens_dim is None else tokens_dim}).items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, given {size}")
        if init is not None and adapter != "bert":
            raise ValueError(f"init: {init!r} given, the weights of a BERT, but adapter is {adapter!r}")
        self.norm = Standardise(dim_in) if norm == "data" else None
        self.cif = IntegrateAndFire(
            dim_in,
            dim_out=tokens_dim,
            kind=weights,
            width=width,
            dropout=dropout,
            threshold=threshold,
            tail=tail,
            published=published,
        )
        dim = tokens_dim or dim_in
        self.relu, self.positions = relu, positions
        with_bert = adapter == "bert"
        self.pre = nn.Linear(dim, hidden) if with_bert else None
        self.bert: nn.Module | None = (
            _bert(hidden, layers, heads, mlp_ratio * hidden, positions, dropout, init) if with_bert else None
        )
        self.post = nn.Linear(hidden if with_bert else dim, dim_out)

    def forward(self, x: Tokens) -> Tokens:
        """Integrate the real frames of each item, adapt the tokens; `number` is what their weights add up to."""
        values = x.values if self.norm is None else self.norm(x.values, x.mask)
        fired = self.cif(values, x.mask, x.number)
        return Tokens(self.adapt(fired.values, fired.mask), fired.mask, number=fired.quantity)

    def adapt(self, values: Float[Tensor, "b u c"], mask: Bool[Tensor, "b u"]) -> Float[Tensor, "b u d"]:
        """The S-adapter: tokens of the C-Former in the LLM's width."""
        if self.bert is not None and self.pre is not None:
            if values.shape[1] > self.positions:
                raise ValueError(f"positions: {self.positions}, but a medium has {values.shape[1]} tokens")
            read = mask | ~mask.any(1, keepdim=True)  # of an item without tokens something is read, and dropped
            square = read[:, None, None, :].expand(-1, 1, mask.shape[1], -1)  # transformers looks into flat masks
            values = self.bert(inputs_embeds=self._ended(self.pre(values)), attention_mask=square).last_hidden_state
        return self._ended(self.post(values))

    def _ended(self, values: Tensor) -> Tensor:
        return F.relu(values) if self.relu else values


def _bert(
    hidden: int, layers: int, heads: int, inner: int, positions: int, dropout: float, init: str | None
) -> nn.Module:
    """A BERT without its table of words, of these sizes; `init`'s weights, which have to fit."""
    from transformers import BertConfig, BertModel

    if heads < 1 or hidden % heads:
        raise ValueError(f"heads must divide hidden: given hidden={hidden}, heads={heads}")
    bert: Any = BertModel(
        BertConfig(
            vocab_size=1,
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            max_position_embeddings=positions,
            pad_token_id=0,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        ),
        add_pooling_layer=False,
    )
    bert.embeddings.word_embeddings = None
    if init is not None and torch.get_default_device().type != "meta":
        try:
            found = BertModel.from_pretrained(init, add_pooling_layer=False).state_dict()
            bert.load_state_dict({name: x for name, x in found.items() if not name.startswith(UNUSED)})
        except (OSError, RuntimeError) as error:
            raise ValueError(f"init: {init} is not there or does not fit: {error}") from error
    return bert  # type: ignore[no-any-return]
