"""Our parts are transformers' BLIP-2 and InstructBLIP: equal logits on shared random weights, picture to words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from qformer_names import published_name
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
)

from anyx.encoders.eva_clip import EvaClipEncoder
from anyx.interfaces import TextBatch
from anyx.llm import LLM
from anyx.media import Image
from anyx.model import AnyX, InputPort
from anyx.queries import QFormerInputProjector

VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION |= {"image_size": 28, "patch_size": 14, "initializer_range": 0.2}
QFORMER = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 20}
QFORMER |= {"encoder_hidden_size": 16, "vocab_size": 11, "cross_attention_frequency": 2, "max_position_embeddings": 16}
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "is", "this", "?", "a", "cow"]
QUERIES = 3


def whole(kind: str, vocabulary: int) -> Any:
    """A tiny random BLIP-2 with OPT, or InstructBLIP with LLaMA, away from its start."""
    torch.manual_seed(0)
    common = {"vision_config": VISION, "qformer_config": QFORMER, "num_query_tokens": QUERIES}
    sizes = {"vocab_size": vocabulary + 1, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if kind == "blip2":
        text = sizes | {"model_type": "opt", "ffn_dim": 24, "word_embed_proj_dim": 16, "max_position_embeddings": 64}
        made: Any = Blip2ForConditionalGeneration(Blip2Config(**common, text_config=text, image_token_index=vocabulary))
    else:
        text = sizes | {"model_type": "llama", "intermediate_size": 24}
        config = InstructBlipConfig(**common, text_config=text, image_token_index=vocabulary)
        made = InstructBlipForConditionalGeneration(config)
    for name, parameter in made.named_parameters():
        if "language_model" not in name and "vision_model" not in name:
            nn.init.normal_(parameter, std=0.3)
    return made.eval()


def projector_state(theirs: Any) -> dict[str, Tensor]:
    state = {f"qformer.{published_name(name)}": tensor for name, tensor in theirs.qformer.state_dict().items()}
    state = {name: tensor for name, tensor in state.items() if not name.endswith("position_ids")}
    state["query_tokens"] = theirs.query_tokens
    return state | {f"proj.{kind}": getattr(theirs.language_projection, kind) for kind in ("weight", "bias")}


@pytest.mark.parametrize("kind", ["blip2", "instructblip"])
@torch.no_grad()
def test_equal_logits(tmp_path: Path, kind: str) -> None:
    tokenizer = tiny.tokenizer()
    theirs = whole(kind, len(tokenizer))
    theirs.save_pretrained(tmp_path / "whole")
    words = tmp_path / "bert"
    words.mkdir()
    (words / "vocab.txt").write_text("\n".join(BERT))
    BertTokenizer(str(words / "vocab.txt")).save_pretrained(words)

    llm = LLM(theirs.language_model, tokenizer)
    projector = QFormerInputProjector(
        16,
        llm.dim,
        queries=QUERIES,
        width=12,
        layers=3,
        heads=2,
        hidden=20,
        vocabulary=len(BERT),
        positions=16,
        tokenizer=str(words) if kind == "instructblip" else None,
    )
    projector.load_state_dict(projector_state(theirs))
    eye = EvaClipEncoder(path=str(tmp_path / "whole"))  # the tower out of the whole model's folder
    template = {"media_end": "{bos}", "user": {}, "assistant": {"prefix": " ", "end": "{eos}"}}
    inputs = {"image": InputPort("eye", projector, kind=Image)}
    ours = AnyX(llm, template=template, encoders={"eye": eye}, inputs=inputs).eval()

    picture = Image(torch.randint(0, 256, (3, 40, 31), dtype=torch.uint8))
    question = "what is this?"
    chat = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": question}]}]
    batch = ours.processor.collate([ours.processor(chat, generate=True)], generate=True)
    spliced, _ = ours.read(batch)
    logits = llm.logits(llm.states(spliced.embeddings, spliced.mask))

    ids = batch.ids[0][batch.ids[0] >= 0]
    ids = torch.cat([torch.full((QUERIES,), len(tokenizer)), ids])[None]
    given: dict[str, Tensor] = {"pixel_values": eye.transform(picture)["pixels"][None], "input_ids": ids}
    if kind == "instructblip":
        asked = AutoTokenizer.from_pretrained(words)(question, return_tensors="pt")
        given |= {"qformer_input_ids": asked["input_ids"], "qformer_attention_mask": asked["attention_mask"]}
        text = batch.inputs["image"].text
        assert isinstance(text, TextBatch)
        assert torch.equal(text.ids, asked["input_ids"])
    wanted = theirs(**given, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(logits, wanted[..., : logits.shape[-1]], atol=1e-4, rtol=1e-4)
    blind = theirs(**given | {"pixel_values": given["pixel_values"] * 0}, attention_mask=torch.ones_like(ids)).logits
    assert not torch.allclose(blind, wanted, atol=1e-3)
