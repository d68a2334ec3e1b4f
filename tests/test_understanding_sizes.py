"""Systems that look, listen and answer in words, on `meta`: the counts of their parts, and how many tokens a medium is.

Counts are those of the published sizes (hidden widths, layers, vocabularies), summed by hand where no file says them:
BLIP-2's tower and Q-Former in tests/encoders/test_eva_clip.py and tests/test_queries.py, Qwen-VL's tower in
tests/encoders/test_vit.py, resamplers in tests/test_resampling.py. Tokens are those of the systems' own papers.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from anyx.build import build
from anyx.config import load
from anyx.media import Audio, Image, Series, Video
from anyx.model import AnyX
from anyx.processor import stack

MODELS = Path(__file__).parent.parent / "configs" / "models"
LLAMA_7B, LLAMA_13B, OPT, QWEN = 6_738_415_616, 13_015_864_320, 2_651_596_800, 7_721_324_544
EVA, QUERIES, INSTRUCTED = 985_952_256, 105_137_664 + 32 * 768, 185_660_160 + 32 * 768
CLIP_L, CLIP_B = 303_179_776, 85_799_424
BEATS, POINT_BERT = 90_311_664, 21_872_640  # summed in tests/encoders/test_beats.py and test_point_bert.py
CROSSED = 6 * 2 * 768  # what each number of a token's width adds to a Q-Former: keys and values of six layers


def attention(width: int) -> int:
    return 4 * (width**2 + width)


def aggregator(width: int) -> int:
    """VideoChat's, whose kernel of 3 and MLP of four widths are not from the reference."""
    return (27 + 1) * width + attention(width) + 8 * width**2 + 5 * width + 3 * 2 * width


def lexicon(width: int, kernel: int, dim: int = 4096, *, proj: int = 0, mix: bool = False) -> int:
    """Convolution, map, attention to the words with its learned key and value; a map before, attention among frames."""
    shortened = width**2 * kernel + width + width * dim + dim + attention(dim) + 2 * dim
    return shortened + proj * width + mix * (attention(width) + 2 * width)


COUNTS: dict[str, dict[str, int]] = {
    "blip2": {"encoders.vision": EVA, "inputs.image.projector": QUERIES + 769 * 2560, "llm.body": OPT},
    "instructblip": {"encoders.vision": EVA, "inputs.image.projector": INSTRUCTED + 769 * 4096, "llm.body": LLAMA_7B},
    "xinstructblip": {
        "encoders.vision": EVA - 2 * 1408,
        "inputs.image.projector": INSTRUCTED + 769 * 4096 + 2 * 1408,
        "inputs.video.projector": INSTRUCTED + 769 * 4096 + 2 * 1408,
        "encoders.hearing": BEATS,
        "inputs.audio.projector": INSTRUCTED + (768 - 1408) * CROSSED + 769 * 4096 + 2 * 768,
        "encoders.points": POINT_BERT,
        "inputs.cloud.projector": INSTRUCTED + (384 - 1408) * CROSSED + 769 * 4096 + 2 * 384,
        "llm.body": LLAMA_7B,
    },
    "videochat": {
        "encoders.vision": EVA - 2 * 1408 + 8 * aggregator(1408) + 1408,
        "encoders.vision.temporal": 8 * aggregator(1408) + 1408,
        "inputs.video.projector": QUERIES + 64 * 768 + 769 * 4096 + 2 * 1408,
        "inputs.video.projector.extra_query_tokens": 64 * 768,
        "llm.body": LLAMA_7B,
    },
    "videochat2": {
        "encoders.vision": 3 * 16**2 * 1024 + 1024 + 8 * 14**2 * 1024 + 23 * (12 * 1024**2 + 13 * 1024),
        "inputs.video.projector": INSTRUCTED + (1024 - 1408) * CROSSED + 64 * 768 + 769 * 4096 + 2 * 1024,
        "llm.lora": 2 * 4 * 16 * 4096 * 32,
        "llm.body": LLAMA_7B,
    },
    "qwen_vl": {"encoders.vision": 1_842_770_688, "inputs.image.projector": 91_791_360, "llm.body": QWEN},
    "mplug_owl": {"encoders.vision": CLIP_L, "llm.lora": 4 * 8 * 4096 * 32, "llm.body": LLAMA_7B},
    "lamm": {
        "encoders.vision": CLIP_L,
        "inputs.image.projector": 1025 * 5120,
        "inputs.cloud.projector": 1025 * 5120,
        "llm.lora": 2 * 4 * 32 * 5120 * 40,
        "llm.body": LLAMA_13B,
    },
    "macaw": {
        "encoders.vision": CLIP_B,
        "encoders.film": CLIP_B,
        "inputs.image.projector": lexicon(512, 48, proj=768),
        "inputs.video.projector": lexicon(512, 36, proj=768, mix=True),
        "inputs.audio.projector": lexicon(512, 240),
        "llm.body": LLAMA_7B,
    },
}
WHOLE = {
    "qwen_vl": 9.66e9,
    "instructblip": 7.91e9,
    "blip2": 3.74e9,
    "mplug_owl": 7.1e9,
}  # as papers and cards round them
PICTURE = Image(torch.zeros(3, 60, 40, dtype=torch.uint8))
FILM = Video(torch.zeros(9, 3, 60, 40, dtype=torch.uint8), 3.0)
TOKENS = [
    ("blip2", "image", PICTURE, 32),
    ("instructblip", "image", PICTURE, 32),
    ("xinstructblip", "video", FILM, 4 * 32),
    ("xinstructblip", "audio", Audio(torch.zeros(1, 16000), 16000), 2 * 32),
    ("xinstructblip", "cloud", Series(torch.zeros(3, 500)), 32),
    ("videochat", "video", FILM, 96),
    ("videochat", "image", PICTURE, 96),
    ("videochat2", "video", FILM, 96),
    ("videochat2", "image", PICTURE, 96),
    ("qwen_vl", "image", PICTURE, 256),
    ("mplug_owl", "image", PICTURE, 65),
    ("mplug_owl2", "image", PICTURE, 65),
    ("cogvlm", "image", PICTURE, 35 * 35 + 2),
    ("openflamingo", "image", PICTURE, 64),
    ("otter", "image", PICTURE, 64),
    ("llama_adapter_v2", "image", PICTURE, 10),
    ("imagebind_llm", "image", PICTURE, 1),
    ("octavius", "image", PICTURE, 256),
    ("lamm", "image", PICTURE, 256),
    ("lamm", "cloud", Series(torch.zeros(3, 500)), 256),
    ("macaw", "image", PICTURE, 5),
    ("macaw", "video", FILM, 39),
    ("macaw", "audio", Audio(torch.zeros(1, 16000), 16000), 6),
]


@cache
def planned(name: str) -> AnyX:
    return build(load(MODELS / f"{name}.yaml"), meta=True)


@pytest.mark.parametrize("name", COUNTS)
def test_the_published_counts(name: str) -> None:
    parts = planned(name).parts()
    found = {part: sum(parameter.numel() for parameter in parts[part]) for part in parts}
    assert {part: found[part] for part in COUNTS[name]} == COUNTS[name]
    if name in WHOLE:
        each = {id(parameter): parameter.numel() for part in parts.values() for parameter in part}
        assert sum(each.values()) == pytest.approx(WHOLE[name], rel=0.02)


@pytest.mark.parametrize(("name", "key", "medium", "count"), TOKENS, ids=lambda x: x if isinstance(x, str) else "")
def test_the_published_tokens(name: str, key: str, medium: Any, count: int) -> None:
    model = planned(name)
    tensors = {part: x.to("meta") for part, x in stack([model.processor.transforms[key](medium)]).items()}
    if name == "lamm" and key == "cloud":  # which points are within a radius is not known without values
        seen = torch.zeros(1, 256, model.encoders["points"].dim, device="meta")
        assert model.encoders["points"].states(seen, seen[..., :3]).shape[1] == count
        return
    tokens = model.encode(key, tensors)
    assert model.inputs[key].projector(tokens._replace(values=tokens.values.float())).values.shape[1] == count
