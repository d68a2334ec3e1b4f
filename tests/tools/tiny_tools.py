"""Random Grounding DINO and SAM of a few thousand weights, as folders with their processors, and drawn pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image as PILImage
from PIL import ImageDraw
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    SamConfig,
    SamImageProcessorPil,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
    SwinConfig,
)

from anyx.media import Image

WORDS = ["dog", "cat", "traffic", "light", "bus"]  # from id 1030 on
PLACES = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 1012: ".", 1029: "?"}  # the model knows BERT's ids


def picture(width: int = 120, height: int = 90, *boxes: tuple[int, int, int, int]) -> Image:
    """White, with boxes of black and red, from the first pixel to the one before the last."""
    canvas = PILImage.new("RGB", (width, height), (255, 255, 255))
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        ImageDraw.Draw(canvas).rectangle((x0, y0, x1 - 1, y1 - 1), fill=((0, 0, 0), (220, 0, 0))[number % 2])
    return Image.read(canvas)


def grounding_dino(folder: Path) -> Path:
    vocabulary = [PLACES.get(number, f"[unused{number}]") for number in range(1030)] + WORDS
    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=32,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = {"vocab_size": len(vocabulary), "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=BertConfig(**text, hidden_size=32),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=12,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(vocabulary)})
    size = {"shortest_edge": 96, "longest_edge": 160}
    GroundingDinoProcessor(GroundingDinoImageProcessorPil(size=size), tokenizer).save_pretrained(folder)
    return folder


def sam(folder: Path) -> Path:
    torch.manual_seed(0)
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16,
            output_channels=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=64,
            patch_size=8,
            mlp_dim=16,
            window_size=4,
            global_attn_indexes=[0],
            num_pos_feats=8,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4, image_embedding_size=8
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
        ),
    )
    SamModel(config).save_pretrained(folder)
    image = SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}, mask_size={"longest_edge": 16}
    )
    SamProcessor(image).save_pretrained(folder)
    return folder
