"""The CLIP vision tower: which states it returns, where its facts come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from anyx.encoders.clip import ClipEncoder
from anyx.encoders.pictures import PictureTransform
from anyx.media import Image, Video

CONFIG = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
CONFIG |= {"image_size": 28, "patch_size": 14}


def test_patches_of_a_layer_or_the_pooled_token() -> None:
    encoder = ClipEncoder(config=CONFIG).eval()
    pooled = ClipEncoder(config=CONFIG, output="global").eval()
    pooled.load_state_dict(encoder.state_dict())
    x = encoder.transform(Image(torch.randint(0, 256, (3, 40, 33), dtype=torch.uint8)))["pixels"][None]
    states = encoder.tower(pixel_values=x, output_hidden_states=True)
    torch.testing.assert_close(encoder({"pixels": x}).values, states.hidden_states[2][:, 1:])
    torch.testing.assert_close(pooled({"pixels": x}).values, states.pooler_output[:, None])
    assert encoder.dim == 16


def test_all_tokens_in_the_space_of_texts(tmp_path: Path) -> None:
    """The class token's is what transformers calls the picture's embedding; a tower without the map is refused."""
    encoder = ClipEncoder(config=CONFIG | {"projection_dim": 6}, project=True).eval()
    x = torch.randn(2, 3, 28, 28)
    whole = encoder.tower(pixel_values=x)
    tokens = encoder({"pixels": x}).values
    assert (encoder.dim, tokens.shape) == (6, (2, 5, 6))
    torch.testing.assert_close(tokens[:, 0], whole.image_embeds)
    normed = encoder.tower.vision_model.post_layernorm(whole.last_hidden_state[:, 3])
    torch.testing.assert_close(tokens[:, 3], encoder.tower.visual_projection(normed))
    encoder.tower.save_pretrained(tmp_path / "whole")
    torch.testing.assert_close(ClipEncoder(path=str(tmp_path / "whole"), project=True)({"pixels": x}).values, tokens)
    ClipEncoder(config=CONFIG).tower.save_pretrained(tmp_path / "bare")
    with pytest.raises(ValueError, match=r"lacks 1 weights of the tower, first 'visual_projection.weight'"):
        ClipEncoder(path=str(tmp_path / "bare"), project=True)
    with pytest.raises(ValueError, match="no grids, no output: global"):
        ClipEncoder(config=CONFIG, output="global", project=True)


def test_a_video_is_the_mean_of_its_frames() -> None:
    encoder = ClipEncoder(config=CONFIG, frames=3).eval()
    x = encoder.transform(Video(torch.randint(0, 256, (7, 3, 28, 28), dtype=torch.uint8), 5.0))["pixels"]
    assert x.shape == (3, 3, 28, 28)
    torch.testing.assert_close(encoder({"pixels": x[None]}).values[0], encoder({"pixels": x}).values.mean(0))


def test_reads_a_folder_and_its_preprocessor(tmp_path: Path) -> None:
    encoder = ClipEncoder(config=CONFIG).eval()
    encoder.tower.save_pretrained(tmp_path)
    again = ClipEncoder(path=str(tmp_path)).eval()
    x = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(again({"pixels": x}).values, encoder({"pixels": x}).values)
    assert again.transform == encoder.transform
    facts = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3], "image_processor_type": "CLIPImageProcessor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(facts))
    with torch.device("meta"):
        planned = ClipEncoder(path=str(tmp_path))
    assert planned.transform.mean == (0.1, 0.2, 0.3)
    assert all(p.is_meta for p in planned.parameters())


def test_red_and_blue_change_places() -> None:
    picture = Image(torch.randint(0, 256, (3, 40, 33), dtype=torch.uint8))
    swapped = Image(picture.pixels.flip(0))
    plain, other = (ClipEncoder(config=CONFIG, bgr=bgr).transform for bgr in (False, True))
    assert torch.equal(other(picture)["pixels"], plain(swapped)["pixels"])


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match="give either path"):
        ClipEncoder()
    with pytest.raises(ValueError, match="layer: 9 is not one of the 4 hidden layers"):
        ClipEncoder(config=CONFIG, layer=9)
    with pytest.raises(ValueError, match=r"config.hiden_size: .* Did you mean: 'hidden_size'"):
        ClipEncoder(config=CONFIG | {"hiden_size": 8})
    with pytest.raises((ValueError, TypeError), match="global"):
        ClipEncoder(config=CONFIG, output="cls")  # type: ignore[arg-type]


@pytest.mark.parametrize("bgr", [False, True])
def test_what_is_padded_is_the_mean_in_any_order_of_colours(bgr: bool) -> None:
    grey = Image(torch.full((3, 40, 20), 128, dtype=torch.uint8))
    pixels = PictureTransform(28, 1, fit="pad", bgr=bgr)(grey)["pixels"]
    assert pixels[:, :, :4].abs().max() < 0.02  # whole numbers of 255 are as near to the mean
    assert pixels[:, 14, 14].abs().max() > 0.05
