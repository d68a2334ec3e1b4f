"""The parametric ViT is transformers' CLIP and EVA-CLIP, key by key; EVA-02's order of norms; sizes of towers.

Qwen-VL's tower is held in tests/goldens/test_golden_qwen_vl.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Blip2VisionConfig, Blip2VisionModel, CLIPVisionConfig, CLIPVisionModel

from anyx.config import load
from anyx.encoders.vit import ViTEncoder
from anyx.media import Image, Video

MODELS = Path(__file__).parent.parent.parent / "configs" / "models"
TINY = {"width": 16, "layers": 3, "heads": 2, "hidden": 20, "patch": 7, "size": 28}
SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 20}
SIZES |= {"patch_size": 7, "image_size": 28}


def randomised(module: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.state_dict()


@torch.no_grad()
def test_is_clip() -> None:
    theirs = CLIPVisionModel(CLIPVisionConfig(**SIZES)).eval()
    given = {key.removeprefix("vision_model."): tensor for key, tensor in randomised(theirs).items()}
    ours = ViTEncoder(**TINY, layer=-2, norm_pre=True, activation="quick_gelu", eps=1e-5)
    state = {
        "class_embedding": given["embeddings.class_embedding"],
        "positions": given["embeddings.position_embedding.weight"],
        "stem.weight": given["embeddings.patch_embedding.weight"],
        "norm_pre.weight": given["pre_layrnorm.weight"],
        "norm_pre.bias": given["pre_layrnorm.bias"],
    }
    for i in range(2):
        layer, block = f"encoder.layers.{i}.", f"blocks.{i}."
        for kind in ("weight", "bias"):
            state[f"{block}attn.in_proj_{kind}"] = torch.cat(
                [given[f"{layer}self_attn.{x}_proj.{kind}"] for x in "qkv"]
            )
            for mine, name in (
                ("norm_1", "layer_norm1"),
                ("norm_2", "layer_norm2"),
                ("attn.out_proj", "self_attn.out_proj"),
                ("mlp.fc1", "mlp.fc1"),
                ("mlp.fc2", "mlp.fc2"),
            ):
                state[f"{block}{mine}.{kind}"] = given[f"{layer}{name}.{kind}"]
    ours.load_state_dict(state)
    x = torch.randn(2, 3, 28, 28)
    wanted = theirs(x, output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(ours({"pixels": x}).values, wanted[:, 1:], atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_is_eva_clip(tmp_path: Path) -> None:
    theirs = Blip2VisionModel(Blip2VisionConfig(**SIZES)).eval()
    given = randomised(theirs)
    ours = ViTEncoder(**TINY, patch_bias=True, norm_post=True, keep_class=True)
    state = {
        "class_embedding": given["embeddings.class_embedding"].flatten(),
        "positions": given["embeddings.position_embedding"][0],
        **{f"stem.{kind}": given[f"embeddings.patch_embedding.{kind}"] for kind in ("weight", "bias")},
        **{f"norm_post.{kind}": given[f"post_layernorm.{kind}"] for kind in ("weight", "bias")},
    }
    names = {"norm_1": "layer_norm1", "norm_2": "layer_norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    names |= {"attn.out_proj": "self_attn.projection"}
    for i in range(3):
        for kind in ("weight", "bias"):
            state[f"blocks.{i}.attn.in_proj_{kind}"] = given[f"encoder.layers.{i}.self_attn.qkv.{kind}"]
            state |= {f"blocks.{i}.{a}.{kind}": given[f"encoder.layers.{i}.{b}.{kind}"] for a, b in names.items()}
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / "model.safetensors")
    ours = ViTEncoder(**TINY, patch_bias=True, norm_post=True, keep_class=True, path=str(tmp_path))
    for size in (28, 42):  # the table is stretched in every forward, as transformers' is
        x = torch.randn(2, 3, size, size)
        wanted = theirs(x, interpolate_pos_encoding=True).last_hidden_state
        torch.testing.assert_close(ours({"pixels": x}).values, wanted, atol=3e-5, rtol=1e-5)


@torch.no_grad()
def test_post_norm_normalises_what_is_added() -> None:
    encoder = ViTEncoder(**TINY | {"layers": 1}, post_norm=True, class_token=False)
    state = randomised(encoder)
    x = torch.randn(1, 3, 28, 28)
    y = F.conv2d(x, state["stem.weight"], stride=7).flatten(2).transpose(1, 2) + state["positions"]
    weights, biases = state["blocks.0.attn.in_proj_weight"], state["blocks.0.attn.in_proj_bias"]
    q, k, v = F.linear(y, weights, biases).reshape(1, 16, 3, 2, 8).permute(2, 0, 3, 1, 4)
    read = ((q @ k.mT) * 8**-0.5).softmax(-1) @ v
    block = encoder.blocks[0]
    y = y + block.norm_1(block.attn.out_proj(read.transpose(1, 2).flatten(2)))
    y = y + block.norm_2(block.mlp.fc2(F.gelu(block.mlp.fc1(y))))
    torch.testing.assert_close(encoder({"pixels": x}).values, y, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_frames_alone_or_together() -> None:
    alone = ViTEncoder(**TINY, frames=2).eval()
    x = alone.transform(Video(torch.randint(0, 256, (5, 3, 30, 50), dtype=torch.uint8), 5.0))["pixels"][None]
    torch.testing.assert_close(alone({"pixels": x}).values[0], alone({"pixels": x[0]}).values.mean(0))
    joint = ViTEncoder(**TINY, joint=2, frames=2, class_token=False).eval()
    assert joint({"pixels": x}).values.shape == (1, 32, 16)
    assert not torch.allclose(joint({"pixels": x}).values, joint({"pixels": x.flip(1)}).values, atol=1e-4)
    still = joint.transform(Image(torch.zeros(3, 9, 9, dtype=torch.uint8)))["pixels"][None]
    assert joint({"pixels": still}).values.shape == (1, 32, 16)  # a picture is a video that stands still
    with pytest.raises(ValueError, match="joint: 2 frames are read together, but 3 were given"):
        joint({"pixels": torch.zeros(1, 3, 3, 28, 28)})
    with pytest.raises(ValueError, match="but 4 were given"):  # no two clips of one item
        joint({"pixels": torch.zeros(1, 4, 3, 28, 28)})


def block(width: int, hidden: int) -> int:
    return 4 * width**2 + 2 * width * hidden + 9 * width + hidden


PUBLISHED = {
    "Qwen-VL's bigG": (
        {"width": 1664, "layers": 48, "heads": 16, "hidden": 8192, "size": 448, "table": 16}
        | {"norm_pre": True, "class_token": False},
        48 * block(1664, 8192) + 1664 * (3 * 14**2 + 256 + 2),
        1024,
    ),
    "CogVLM's EVA-02-E": (
        {"width": 1792, "layers": 63, "heads": 16, "hidden": 15360, "size": 490}
        | {"patch_bias": True, "post_norm": True},
        63 * block(1792, 15360) + 1792 * (3 * 14**2 + 35**2 + 3),
        1225,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_towers(name: str) -> None:
    given, count, tokens = PUBLISHED[name]
    with torch.device("meta"):
        encoder = ViTEncoder(**given)  # type: ignore[arg-type]
        side = given["size"]
        assert encoder({"pixels": torch.zeros(1, 3, side, side)}).values.shape[1] == tokens
    assert sum(p.numel() for p in encoder.parameters()) == count


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 30}, "size: 30 is no multiple of the patches' 7"),
        ({"layer": -4}, "layer: -4 is not within -3 and -1"),
        ({"keep_class": True, "class_token": False}, "keep_class: there is none"),
        ({"joint": 3}, "joint: 3 frames are read together, but frames: 4 are taken"),
        ({"heads": 5}, "heads must divide dim: given dim=16, heads=5"),
    ],
)
def test_errors_name_what_was_given(given: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViTEncoder(**TINY | given)  # type: ignore[arg-type]


@pytest.mark.parametrize("system", ["mplug_owl", "mplug_owl2"])
def test_the_norms_of_mplug_owl_s_towers(system: str) -> None:
    """1e-6, with which the configuration classes of both begin; CLIP's has 1e-5."""
    node = load(MODELS / f"{system}.yaml").encoders["vision"]
    keywords = {name: value for name, value in node.kwargs.items() if name != "path"}
    made = ViTEncoder(**keywords | {"width": 16, "layers": 1, "heads": 2, "hidden": 20})
    assert isinstance(made.norm_post, nn.LayerNorm)
    assert made.norm_post.eps == 1e-6
