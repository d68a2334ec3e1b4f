"""BLIP-2, InstructBLIP, Kosmos-2 and Fuyu of transformers, tiny and random, answer about a picture behind our calls.

They have no chat template: the user's words are the prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, normalizers

from anyx.backends import WholeModel
from anyx.media import Image

VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION |= {"image_size": 28, "patch_size": 14, "initializer_range": 0.2}  # theirs is 1e-10: a tower that sees nothing
SIZE = {"height": 28, "width": 28}
QUERIES = 4


def bridged(config: Any, model: Any, processor: Any, *tokenizers: Any) -> tuple[Any, Any]:
    """BLIP-2's form: a Q-Former of few queries between a tower and OPT."""
    words = tiny.tokenizer()
    rows = len(words) + 2
    former = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    former |= {"encoder_hidden_size": 16, "cross_attention_frequency": 1, "vocab_size": rows}
    text = {"model_type": "opt", "vocab_size": rows, "hidden_size": 16, "num_hidden_layers": 2, "ffn_dim": 32}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 128, "word_embed_proj_dim": 16}
    text |= {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 2, "init_std": 0.2}
    given = {"vision_config": VISION, "qformer_config": former, "text_config": text}
    made = model(config(**given, num_query_tokens=QUERIES, image_token_index=len(words)))
    reader = hf.BlipImageProcessor(size=SIZE)
    return made, processor(reader, words, *tokenizers, num_query_tokens=QUERIES)


def blip2() -> tuple[Any, Any]:
    return bridged(hf.Blip2Config, hf.Blip2ForConditionalGeneration, hf.Blip2Processor)


def instructblip() -> tuple[Any, Any]:
    parts = hf.InstructBlipConfig, hf.InstructBlipForConditionalGeneration, hf.InstructBlipProcessor
    return bridged(*parts, tiny.tokenizer())


def kosmos2() -> tuple[Any, Any]:
    words = tiny.tokenizer()
    words.add_special_tokens({"unk_token": "<unk>"})
    reader = hf.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=SIZE)
    processor = hf.Kosmos2Processor(reader, words, num_patch_index_tokens=4)
    text = {"vocab_size": len(processor.tokenizer) + 80, "embed_dim": 16, "layers": 2, "ffn_dim": 32}
    text |= {"attention_heads": 2, "max_position_embeddings": 128}
    text |= {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 2}
    config = hf.Kosmos2Config(vision_config=VISION, text_config=text, latent_query_num=64)
    return hf.Kosmos2ForConditionalGeneration(config), processor


def fuyu() -> tuple[Any, Any]:
    """Its pictures are patches of 30 pixels, a mark after each row; its tokenizer writes a space before any text."""
    pieces = ["<unk>", "<s>", "</s>", "|SPEAKER|", "|NEWLINE|", "<0x04>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    core = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], 0, False))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Replace("▁", " ")
    ends = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    words = hf.PreTrainedTokenizerFast(tokenizer_object=core, **ends)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"vocab_size": len(words), "initializer_range": 0.2}
    config = hf.FuyuConfig(text_config=sizes | {"model_type": "persimmon"}, **sizes, image_size=60, patch_size=30)
    config.image_token_id = words.convert_tokens_to_ids("|SPEAKER|")
    reader = hf.FuyuImageProcessorPil(size={"height": 60, "width": 60}, patch_size={"height": 30, "width": 30})
    return hf.FuyuForCausalLM(config), hf.FuyuProcessor(reader, words)


@pytest.mark.parametrize("family", [blip2, instructblip, kosmos2, fuyu])
def test_a_picture_is_seen_and_answered(family: Callable[[], tuple[Any, Any]], tmp_path: Path) -> None:
    torch.manual_seed(0)
    for part in family():
        part.save_pretrained(tmp_path)
    for said in tmp_path.glob("*processor_config.json"):  # the Hub says no Pil
        said.write_text(said.read_text().replace("ProcessorPil", "Processor"))
    whole = WholeModel.load(str(tmp_path))
    logits = []
    for level in (0, 250):
        picture = Image(torch.full((3, 30, 40), level, dtype=torch.uint8))
        content = [{"type": "image", "media": picture}, {"type": "text", "text": "what is it"}]
        messages = [{"role": "user", "content": content}]
        logits.append(whole.logits(messages))
        assert isinstance(whole.chat(messages, max_new_tokens=3).text, str)
    assert torch.isfinite(logits[0]).all()
    assert not torch.allclose(logits[0][:, -1], logits[1][:, -1], atol=1e-6)
    with pytest.raises(ValueError, match="has no chat template: it reads one message of the user"):
        whole.chat([*messages, {"role": "assistant", "content": "a"}, *messages])
