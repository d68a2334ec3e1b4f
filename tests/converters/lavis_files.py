"""LAVIS' files, made of transformers' BLIP-2 and InstructBLIP of random weights, by a table of names of its own.

Nothing here looks at the converters' tables. Facts: reference sheets 1.10 and 1.11; a Q-Former's names are those of the
golden cases of BLIP-2; what the tower's are is told in github.com/salesforce/LAVIS/issues/128.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
)

VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION |= {"image_size": 28, "patch_size": 14, "initializer_range": 0.2}
QFORMER = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 20}
QFORMER |= {"encoder_hidden_size": 16, "vocab_size": 11, "cross_attention_frequency": 2, "max_position_embeddings": 16}
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "is", "this", "?", "a", "cow"]
QUERIES, ROWS = 3, len(tiny.tokenizer()) + 1
HEADS = "inputs.{}.projector.heads=2"  # no file says how many
EYE = {  # transformers' words -> LAVIS'
    "embeddings.class_embedding": "cls_token",
    "embeddings.position_embedding": "pos_embed",
    "embeddings.patch_embedding": "patch_embed.proj",
    "encoder.layers": "blocks",
    "self_attn.projection": "attn.proj",
    "self_attn": "attn",
    "layer_norm": "norm",
}


def whole(kind: str, *, true: bool = False) -> Any:
    """A BLIP-2 with OPT, or InstructBLIP with LLaMA, tiny and random, or of the published sizes (7B: LLaMA's width)."""
    sizes = {} if true else {"vision_config": VISION, "qformer_config": QFORMER, "num_query_tokens": QUERIES}
    wide = 4096 if kind == "instructblip" else 2560
    small = {"vocab_size": ROWS, "hidden_size": wide if true else 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    small |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.2}
    made: Any
    if kind == "blip2":
        text = {"model_type": "opt", "ffn_dim": 24, "word_embed_proj_dim": small["hidden_size"]}
        config = Blip2Config(**sizes, text_config={**small, **text}, image_token_index=ROWS - 1)
        made = Blip2ForConditionalGeneration(config)
    else:
        sizes |= {"qformer_config": {"vocab_size": 30523}} if true else {}
        text = {**small, "model_type": "llama", "intermediate_size": 24}
        made = InstructBlipForConditionalGeneration(
            InstructBlipConfig(**sizes, text_config=text, image_token_index=ROWS - 1)
        )
    for name, parameter in made.named_parameters():
        if "language_model" not in name and not true:
            nn.init.normal_(parameter, std=0.3)
    made.vision_model.post_layernorm.eps = 1e-5  # LAVIS' own
    return made.eval()


def qformer(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Its tensors in LAVIS' words."""
    found = {}
    for name, tensor in state.items():
        words = name.replace("attention.attention.", "attention.self.")
        if name.startswith("layernorm"):
            words = words.replace("layernorm", "embeddings.LayerNorm")
        found[f"bert.{words.replace('embeddings.layernorm', 'embeddings.LayerNorm')}"] = tensor
    return found


def trainables(theirs: Any, proj: str, *, norm: bool = True) -> dict[str, Tensor]:
    """What a fine-tune's file holds, BERT's places among it."""
    state = {"query_tokens": theirs.query_tokens}
    if norm:
        state |= {f"ln_vision.{leaf}": x for leaf, x in theirs.vision_model.post_layernorm.state_dict().items()}
    state |= {f"Qformer.{name}": x for name, x in qformer(theirs.qformer.state_dict()).items()}
    places = theirs.config.qformer_config.max_position_embeddings
    state["Qformer.bert.embeddings.position_ids"] = torch.arange(places, device=theirs.query_tokens.device)[None]
    state |= {f"{proj}.{leaf}": x for leaf, x in theirs.language_projection.state_dict().items()}
    return {name: x.detach().clone() for name, x in state.items()}


def tower(theirs: Any) -> dict[str, Tensor]:
    """What a caption fine-tune's file holds besides: the tower."""
    state = {}
    for name, tensor in theirs.vision_model.state_dict().items():
        words = name
        for ours, lavis in EYE.items():
            words = words.replace(ours, lavis)
        if name.endswith("qkv.bias"):
            q, _, v = tensor.chunk(3)
            state |= {words.replace("qkv.bias", "q_bias"): q, words.replace("qkv.bias", "v_bias"): v}
        elif not name.startswith("post_layernorm"):
            state[words] = tensor
    return {f"visual_encoder.{name}": x.detach().clone() for name, x in state.items()}


def first_stage(layers: int, width: int, hidden: int, rows: int, places: int) -> dict[str, Tensor]:
    """What the first stage's Q-Former has of words: embeddings, feed-forward, head; in BERT's own names."""
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": hidden, "num_attention_heads": 2}
    bert = BertLMHeadModel(BertConfig(**sizes, vocab_size=rows, max_position_embeddings=places, is_decoder=True))
    kept = ("embeddings.word", "embeddings.position_emb", ".intermediate.", "cls.")
    state = {name: x for name, x in bert.state_dict().items() if any(part in name for part in kept)}
    state |= {n: x for n, x in bert.state_dict().items() if ".output." in n and ".attention." not in n}
    return {f"Qformer.{name}": x.detach().clone() for name, x in state.items()}


def write_bases(folder: Path, theirs: Any) -> dict[str, str]:
    """The LLM, the whole model as a tower's place, BERT's tokenizer."""
    theirs.language_model.save_pretrained(folder / "llm")
    tiny.tokenizer().save_pretrained(folder / "llm")
    theirs.save_pretrained(folder / "whole")
    (folder / "bert").mkdir()
    (folder / "bert" / "vocab.txt").write_text("\n".join(BERT))
    BertTokenizer(str(folder / "bert" / "vocab.txt")).save_pretrained(folder / "bert")
    return {name: str(folder / place) for name, place in (("llm", "llm"), ("eva", "whole"), ("bert", "bert"))}
