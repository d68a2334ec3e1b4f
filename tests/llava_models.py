"""Small LLaVA models of transformers with random weights, their processors, the bases of a conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny
import torch
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedModel,
)

CLIP = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
CLIP |= {"image_size": 28, "patch_size": 14, "initializer_range": 0.2}
GRIDS = [[28, 56], [56, 28], [56, 56]]  # (height, width) and (width, height) alike
MORE = 6  # rows past the tokenizer's, as llava-hf's checkpoints have; the last is <image>
CHAT = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>\n{% else %}{{ p['text'] }}{% endif %}{% endfor %}"
    "{% if m['role'] == 'user' %} {% else %}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def text_config() -> dict[str, Any]:
    words = tiny.tokenizer()
    return {
        "model_type": "llama",
        "vocab_size": len(words) + MORE,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
    }


def model(lines: bool) -> PreTrainedModel:
    """LLaVA-1.5, or LLaVA-NeXT, whose rows of patches have `lines` ends."""
    torch.manual_seed(0)
    text = text_config()
    given = {"vision_config": {"model_type": "clip_vision_model", **CLIP}, "text_config": text}
    given |= {"image_token_index": len(tiny.tokenizer()), "vision_feature_layer": -2}
    if lines:
        return LlavaNextForConditionalGeneration(LlavaNextConfig(**given, image_grid_pinpoints=GRIDS)).eval()
    return LlavaForConditionalGeneration(LlavaConfig(**given)).eval()


def processor(lines: bool) -> Any:
    """Its processor, over the tiny tokenizer with <image> added."""
    words = tiny.tokenizer()
    words.add_tokens(["<image>"], special_tokens=True)
    size = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    given = {"patch_size": 14, "vision_feature_select_strategy": "default", "chat_template": CHAT}
    given |= {"num_additional_image_tokens": 1}
    if lines:
        return LlavaNextProcessor(LlavaNextImageProcessor(**size, image_grid_pinpoints=GRIDS), words, **given)
    return LlavaProcessor(CLIPImageProcessor(**size), words, **given)


def write_bases(folder: Path) -> dict[str, str]:
    torch.manual_seed(1)
    text = {name: value for name, value in text_config().items() if name != "model_type"}
    LlamaForCausalLM(LlamaConfig(**text | {"vocab_size": text["vocab_size"] - MORE})).save_pretrained(folder / "llm")
    tiny.tokenizer().save_pretrained(folder / "llm")
    CLIPVisionModel(CLIPVisionConfig(**CLIP)).save_pretrained(folder / "clip")
    return {"llm": str(folder / "llm"), "vision": str(folder / "clip")}
