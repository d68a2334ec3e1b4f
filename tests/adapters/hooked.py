"""Tiny random causal LMs of five families with each adapter in their layers, weights away from their beginning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from anyx.adapters.body import Body
from anyx.adapters.experts import LoraExperts
from anyx.adapters.gated import GatedCrossAttention
from anyx.adapters.positions import SharedPositions
from anyx.adapters.prompts import ZeroInitPrompts
from anyx.adapters.routed import Routed
from anyx.adapters.tuned import Tuned
from anyx.context import Context
from anyx.interfaces import Adapter, Layout, Placed, Tokens

VOCABULARY, DIM = 60, 32
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": DIM,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "opt": {
        "hidden_size": DIM,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "word_embed_proj_dim": DIM,
        "dropout": 0.0,
    },
    "gpt_neox": {"hidden_size": DIM, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
    "gptj": {"n_embd": DIM, "n_inner": 48, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
    "mpt": {"d_model": DIM, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2},
}
LINEAR = {  # the modules that CogVLM doubles, as each family names its own
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "opt": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
    "gpt_neox": ["query_key_value", "attention.dense", "dense_h_to_4h", "dense_4h_to_h"],
    "gptj": ["q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"],
    "mpt": ["Wqkv", "out_proj", "up_proj", "down_proj"],
}
NORMS = {
    "llama": ["input_layernorm", "post_attention_layernorm"],
    "opt": ["self_attn_layer_norm", "final_layer_norm"],
    "gpt_neox": ["input_layernorm", "post_attention_layernorm"],
    "gptj": ["ln_1"],
    "mpt": ["norm_1", "norm_2"],
}
LORA = {"llama": "q_proj", "opt": "q_proj", "gpt_neox": "query_key_value", "gptj": "q_proj", "mpt": "Wqkv"}
MAKERS: dict[str, Callable[[Body, str], Adapter]] = {
    "gated": lambda body, kind: GatedCrossAttention(body, "it", every=2, dim=10, heads=2, head_dim=4),
    "gated_all": lambda body, kind: GatedCrossAttention(body, "it", dim=10, heads=2, head_dim=4, sees="all"),
    "routed": lambda body, kind: Routed(body, "it", modules=LINEAR[kind], end=1),
    "routed_norms": lambda body, kind: Routed(body, "it", modules=NORMS[kind]),
    "prompts": lambda body, kind: ZeroInitPrompts(body, "it", layers=2, tokens=3),
    "experts": lambda body, kind: LoraExperts(body, "it", modules=LINEAR[kind][:2], r=2, experts=3),
    "tuned": lambda body, kind: Tuned(body, "it", biases=LINEAR[kind]),
    "positions": lambda body, kind: SharedPositions(body, "it", begin=1, end=1),
}
READS_QUERIES = ("llama", "opt")
COUNTS_POSITIONS = ("llama", "opt", "gpt_neox", "gptj")  # MPT has no position ids
PAIRS = [
    (kind, maker)
    for kind in FAMILIES
    for maker in MAKERS
    if (maker != "prompts" or kind in READS_QUERIES) and (maker != "positions" or kind in COUNTS_POSITIONS)
]


def causal_lm(kind: str, vocabulary: int = VOCABULARY) -> PreTrainedModel:
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, vocab_size=vocabulary, **special, **FAMILIES[kind])
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    with torch.no_grad():  # far from uniform answers
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2)
    return model


def made(kind: str, maker: str, *, begun: bool = True) -> tuple[PreTrainedModel, Adapter]:
    """A model and an adapter in it; `begun`: the adapter's weights are away from where they began."""
    model = causal_lm(kind)
    adapter = MAKERS[maker](Body(model), kind)
    if begun:
        shake(adapter)
    return model, adapter


@torch.no_grad()
def shake(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.3)


ROWS: list[tuple[list[int], list[tuple[int, int]]]] = [  # ids, and (start, real tokens) of each medium
    ([5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [(1, 4), (7, 2)]),
    ([20, 21, 22, 23, 24, 25], [(0, 4)]),
    ([30, 31, 32, 33], []),
]


def batch(rows: Sequence[int], *, side: str = "left") -> tuple[Tensor, Tensor]:
    """Ids and mask of some of `ROWS`."""
    lists = [ROWS[row][0] for row in rows]
    longest = max(map(len, lists))
    shifts = [longest - len(ids) if side == "left" else 0 for ids in lists]
    ids = torch.tensor([[0] * s + one + [0] * (longest - s - len(one)) for s, one in zip(shifts, lists, strict=True)])
    columns = torch.arange(longest)
    mask = torch.stack([(columns >= s) & (columns < s + len(one)) for s, one in zip(shifts, lists, strict=True)])
    return ids, mask


def context(model: PreTrainedModel, adapter: Adapter, rows: Sequence[int], *, side: str = "left") -> Context:
    """What the adapter reads of these rows; a medium's tokens are the same whatever rows it comes with."""
    ids, mask = batch(rows, side=side)
    places, items = [], []
    for here, row in enumerate(rows):
        shift = int(mask[here].int().argmax())
        for number, (start, count) in enumerate(ROWS[row][1]):
            places.append((here, start + shift))
            random = torch.Generator().manual_seed(10 * row + number)
            items.append((torch.randn(4, adapter.dim, generator=random), count))
    if isinstance(adapter, ZeroInitPrompts):
        items = [(values[:3], 3) for values, _ in items]
    asked = mask & (mask.cumsum(1) <= 4)
    media = []
    if items:
        lengths = torch.tensor([count for _, count in items])
        values = torch.stack([values for values, _ in items])
        tokens = Tokens(values, torch.arange(values.shape[1]) < lengths[:, None])
        media = [
            Placed(
                torch.tensor([r for r, _ in places]),
                torch.tensor([s for _, s in places]),
                tokens,
                torch.arange(len(items)),
            )
        ]
    return Context({"it": adapter.read(Layout(model.get_input_embeddings()(ids), mask, asked), media)})
