"""EVA-CLIP: what of BLIP-2's vision model it returns, and how MiniGPT's towers differ from that.

Expected values come from transformers' own `Blip2VisionModel`. Its `initializer_range` of 1e-10 makes a random tower
all but zero, so the sizes here set another.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import Blip2VisionConfig, Blip2VisionModel

from anyx.encoders.eva_clip import EvaClipEncoder
from anyx.media import Image, Video

CONFIG = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
CONFIG |= {"image_size": 28, "patch_size": 14, "initializer_range": 0.2}


@pytest.fixture(scope="module")
def tower() -> nn.Module:
    torch.manual_seed(0)
    made = Blip2VisionModel(Blip2VisionConfig(**CONFIG)).eval()
    with torch.no_grad():
        made.post_layernorm.weight.uniform_(0.5, 2)
        made.post_layernorm.bias.normal_()
    return made


@pytest.fixture(scope="module")
def folder(tower: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("eva")
    tower.save_pretrained(path)
    return str(path)


@torch.no_grad()
def test_is_blip2s_vision_model(tower: nn.Module, folder: str) -> None:
    x = torch.randn(2, 3, 28, 28)
    wanted = tower(x).last_hidden_state
    assert wanted.std() > 0.1
    torch.testing.assert_close(EvaClipEncoder(path=folder).eval()({"pixels": x}).values, wanted)
    patches = EvaClipEncoder(path=folder, keep_cls=False).eval()
    torch.testing.assert_close(patches({"pixels": x}).values, wanted[:, 1:])
    assert (patches.dim, patches({"pixels": x}).mask.shape) == (16, (2, 4))


@torch.no_grad()
def test_fewer_blocks_and_the_layernorm_at_the_end(tower: nn.Module, folder: str) -> None:
    x = torch.randn(1, 3, 28, 28)
    states = tower(x, output_hidden_states=True).hidden_states[2]
    norm = tower.post_layernorm
    wanted = {
        "loaded": F.layer_norm(states, (16,), norm.weight, norm.bias, 1e-6),
        "identity": F.layer_norm(states, (16,), eps=1e-5),
        "none": states,
    }
    for kind, values in wanted.items():
        encoder = EvaClipEncoder(path=folder, blocks=2, post_ln=kind).eval()  # type: ignore[arg-type]
        torch.testing.assert_close(encoder({"pixels": x}).values, values)
    lavis = EvaClipEncoder(path=folder, blocks=2, eps=0.5).eval()
    torch.testing.assert_close(lavis({"pixels": x}).values, F.layer_norm(states, (16,), norm.weight, norm.bias, 0.5))


@torch.no_grad()
def test_other_sizes_interpolate_the_positions(tower: nn.Module, folder: str) -> None:
    x = torch.randn(2, 3, 56, 56)
    encoder = EvaClipEncoder(path=folder, size=56).eval()
    wanted = tower(x, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(encoder({"pixels": x}).values, wanted)
    assert encoder.transform(Image(torch.zeros(3, 20, 50, dtype=torch.uint8)))["pixels"].shape == (3, 56, 56)
    with torch.device("meta"):
        planned = EvaClipEncoder(path=folder, size=56)
    assert planned.state_dict().keys() == encoder.state_dict().keys()
    assert planned.tower.embeddings.position_embedding.shape == (1, 17, 16)


def test_pictures_are_stretched_and_never_cut() -> None:
    """What lies outside of the centre square is seen too, and the proportion of the sides is not."""
    wide = torch.zeros(3, 28, 280, dtype=torch.uint8)
    wide[:, :, 252:] = 255
    transform = EvaClipEncoder(config=CONFIG).transform
    pixels = transform(Image(wide))["pixels"]
    assert pixels[0, :, -1].min() > 1.5
    assert pixels[0, :, :14].max() < -1.5
    assert torch.equal(transform(Image(wide[:, :, :28]))["pixels"][0], transform(Image(wide[:, :, :56]))["pixels"][0])


@torch.no_grad()
def test_frames_lie_end_to_end() -> None:
    encoder = EvaClipEncoder(config=CONFIG, frames=3).eval()
    x = encoder.transform(Video(torch.randint(0, 256, (7, 3, 28, 40), dtype=torch.uint8), 5.0))["pixels"]
    assert x.shape == (3, 3, 28, 28)
    torch.testing.assert_close(encoder({"pixels": x[None]}).values[0], encoder({"pixels": x}).values.flatten(0, 1))


def test_the_published_tower_has_986_million_weights() -> None:
    """39 blocks of 1408 and 6144, 257 positions; transformers keeps the keys' bias too, 39 x 1408 zeros more."""
    with torch.device("meta"):
        encoder = EvaClipEncoder(config={})
    width, hidden = 1408, 6144
    block = 4 * width * width + 4 * width + 2 * width * hidden + hidden + width + 4 * width
    ends = (3 * 14 * 14 + 1) * width + 258 * width + 2 * width
    assert sum(p.numel() for p in encoder.parameters()) == 39 * block + ends == 985_952_256


def test_errors_name_what_was_given(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give either path"):
        EvaClipEncoder()
    with pytest.raises(ValueError, match="blocks: 4 is not within 1 and 3"):
        EvaClipEncoder(config=CONFIG, blocks=4)
    with pytest.raises(ValueError, match="size: 30 is no multiple of the patches' 14"):
        EvaClipEncoder(config=CONFIG, size=30)
    with pytest.raises((ValueError, TypeError), match="identity"):
        EvaClipEncoder(config=CONFIG, post_ln="unloaded")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"config.hiden_size: .* Did you mean: 'hidden_size'"):
        EvaClipEncoder(config=CONFIG | {"hiden_size": 8})


def test_a_file_without_the_tower_is_refused(tmp_path: Path) -> None:
    """transformers would leave what it does not find random."""
    sizes = CONFIG | {"num_hidden_layers": 1}
    tower = Blip2VisionModel(Blip2VisionConfig(**sizes))
    tower.save_pretrained(tmp_path)
    Blip2VisionConfig(**CONFIG).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks 24 weights of the tower, first 'encoder.layers.1"):
        EvaClipEncoder(path=str(tmp_path))
