"""OpenFlamingo 9B over MPT-7B (arXiv 2308.01390; github.com/mlfoundations/open_flamingo): `checkpoint.pt`.

A file holds what training moved: the perceiver, the gated blocks and the LLM's embedding, which MPT ties to its head,
with rows for three tokens more. `old_decoder_blocks` and `gated_cross_attn_layers` in a name mark second copies of
tensors: they are left out, and counted; a gated block whose copy differs is an error.

The order of the three rows is an assumption: the tokens are published, their order is not; `added_tokens` names
another. Nor is it known how many rows a published table has: whatever a tokenizer has, and these. The rows that MPT's
own table has past its tokenizer's tokens are cut then. Files over LLaMA or RedPajama are not read, nor Otter's, which
renames the feed-forwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from anyx.config import Config
from anyx.converters.folders import shipped
from anyx.converters.keys import Layout, Rule
from anyx.converters.pieces import cut, joined
from anyx.converters.systems import Converter, Sizes, State
from anyx.converters.vocabulary import Vocabulary

ADDED = ("<|endofchunk|>", "<image>", "<PAD>")
WORDS = "lang_encoder.transformer.wte"
BLOCKS = "lang_encoder.transformer.blocks."
COPIES = "lang_encoder.gated_cross_attn_layers."
REPEATED = ("old_decoder_blocks", "gated_cross_attn_layers")
PERCEIVER, CROSS = "inputs.image.projector.resampler.", "llm.adapters.cross.layers."
HEADS = 8  # of the perceiver and of the gated blocks; a file does not say it
PAIR = ".attn.pair.", (".attn.key.", ".attn.value.")  # of the perceiver; the gated blocks keep `to_kv`
WHOLE = ".attn.in_proj_", (".attn.query.", *PAIR[1])
LEAVES = {"leaf": ("weight", "bias")}


def perceiver_rules(prefix: str) -> list[Rule]:
    """The perceiver: queries have a matrix of their own there, and stand with keys and values here (`WHOLE`)."""
    read, feed, block = "layers.{block}.0.", "layers.{block}.1.", "blocks.{block}."
    names = {
        "latents": ("latents", "latents encoded"),
        f"{read}norm_media.{{leaf}}": (f"{block}norm_context.{{leaf}}", "encoded"),
        f"{read}norm_latents.{{leaf}}": (f"{block}norm_latents.{{leaf}}", "encoded"),
        f"{read}to_q.weight": (f"{block}attn.query.weight", "read encoded"),
        f"{read}to_kv.weight": (f"{block}attn.pair.weight", "2*read encoded"),
        f"{read}to_out.weight": (f"{block}attn.out_proj.weight", "encoded read"),
        f"{feed}0.{{leaf}}": (f"{block}norm_mlp.{{leaf}}", "encoded"),
        f"{feed}1.weight": (f"{block}mlp.fc1.weight", "4*encoded encoded"),
        f"{feed}3.weight": (f"{block}mlp.fc2.weight", "encoded 4*encoded"),
        "norm.{leaf}": ("norm.{leaf}", "encoded"),
    }
    return [Rule(f"{prefix}{theirs}", f"{PERCEIVER}{ours}", shape) for theirs, (ours, shape) in names.items()]


def gated_rules(every: int) -> list[Rule]:
    """The gated blocks, whose names are the same here: one before the last of every so many layers."""
    names = {
        "attn_gate": "1",
        "ff_gate": "1",
        "attn.norm.{leaf}": "width",
        "attn.to_q.weight": "seen width",
        "attn.to_kv.weight": "2*seen encoded",
        "attn.to_out.weight": "width seen",
        "ff.0.{leaf}": "width",
        "ff.1.weight": "4*width width",
        "ff.3.weight": "width 4*width",
    }
    block = f"{BLOCKS}{{layer}}.gated_cross_attn_layer"
    return [
        Rule(f"{block}.{name}", f"{CROSS}{{layer}}.{name}", shape, every=every, first=every - 1)
        for name, shape in names.items()
    ]


class OpenFlamingo(Converter):
    """`added_tokens` are the tokens of the table's last rows, in their order, where it is not the assumed one."""

    bases: ClassVar[Mapping[str, str]] = {
        "llm": "MPT-7B, as transformers reads it, with its tokenizer",
        "vision": "openai/clip-vit-large-patch14",
    }
    notes: ClassVar[Sequence[str]] = (
        "Converted from OpenFlamingo, whose code is under MIT's licence; its weights are under the terms of the LLM "
        "and the data that they grew from.",
        "Which of the last rows of its table is which token is an assumption: see `added_tokens`.",
    )

    def __init__(self, *, added_tokens: Sequence[str] | None = None) -> None:
        tokens = ADDED if added_tokens is None else tuple(added_tokens)
        if missing := [token for token in ADDED[:2] if token not in tokens]:
            raise ValueError(f"added_tokens: {', '.join(tokens)} given; {' and '.join(missing)} must be among them")
        self.vocabulary = Vocabulary(tokens, {})
        rules = [*perceiver_rules("perceiver."), Rule(f"{WORDS}.weight", "tables.embedding", "rows width")]
        self.layouts = {
            f"every {step}": Layout([*rules, *gated_rules(step)], LEAVES, {"every layer": step}) for step in (1, 2, 4)
        }
        sizes = {"width": 4096, "encoded": 1024, "latents": 64, "read": 512, "seen": 512, "block": 6}
        self.published = {"9b": {**sizes, "layer": 32, "every layer": 4}}

    def kept(self, state: State) -> tuple[State, dict[str, int]]:
        """All but second copies."""
        kinds = {name: kind for name in state for kind in REPEATED if kind in name.split(".")}
        for name in kinds:
            number, _, rest = name.removeprefix(COPIES).partition(".")
            first = f"{BLOCKS}{number}.gated_cross_attn_layer.{rest}"
            if name.startswith(COPIES) and first in state and not torch.equal(state[name], state[first]):
                raise ValueError(f"{name} is said to be a copy of {first}, but differs from it")
        counts = Counter(f"duplicates under {kind}" for kind in kinds.values())
        return {name: tensor for name, tensor in state.items() if name not in kinds}, dict(counts)

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/openflamingo.yaml` on these bases, with the file's sizes and tokens."""
        raw = shipped("openflamingo")
        raw["llm"] |= {"path": bases["llm"], "added_tokens": list(self.vocabulary.added)}
        raw["llm"]["adapters"]["cross"] |= {
            "every": sizes["every layer"],
            "dim": sizes["encoded"],
            "heads": HEADS,
            "head_dim": sizes["seen"] // HEADS,
        }
        raw["encoders"]["vision"]["path"] = bases["vision"]
        raw["inputs"]["image"]["projector"] |= {
            "tokens": sizes["latents"],
            "depth": sizes["block"],
            "heads": HEADS,
            "head_dim": sizes["read"] // HEADS,
        }
        return raw

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The table cut in two, queries and keys and values of the perceiver in one piece."""
        own = {name: tensor for name, tensor in state.items() if not name.startswith("tables.")}
        own = joined(cut(own, *PAIR), *WHOLE)
        base, own["llm.signal_tokens.embedding"] = self.vocabulary.split(state["tables.embedding"])
        return own, {"embedding": base}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The way back."""
        if config.outputs or "embedding" not in tables or "llm.signal_tokens.embedding" not in state:
            raise ValueError("openflamingo has no outputs, and its whole embedding in llm.tables; this model has not")
        found = joined(cut(state, *WHOLE), *PAIR)
        found["tables.embedding"] = self.vocabulary.join(tables["embedding"], found.pop("llm.signal_tokens.embedding"))
        return found
