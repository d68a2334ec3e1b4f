"""BLIP-2's eye and Q-Former in one; tests/converters/test_minigpt.py holds it against transformers' own."""

from pathlib import Path

import pytest
import torch
from components import EVA, QFORMER
from safetensors.torch import save_file
from transformers import Blip2Config

from anyx.encoders import Blip2Encoder
from anyx.encoders.blip2 import PREFIXES, stored


def small() -> Blip2Encoder:
    torch.manual_seed(0)
    return Blip2Encoder(config=EVA, qformer=QFORMER, queries=3, frames=2).eval()


def test_a_clip_is_its_frames_one_after_the_other() -> None:
    encoder, clip = small(), torch.randn(2, 2, 3, 16, 16)
    with torch.no_grad():
        tokens = encoder({"pixels": clip}).values
        alone = [encoder({"pixels": clip[:, frame]}).values for frame in range(2)]
    assert tokens.shape == (2, 6, 8)
    torch.testing.assert_close(tokens, torch.cat(alone, dim=1))


def test_every_query_reads_the_picture() -> None:
    encoder, (one, other) = small(), torch.randn(2, 1, 3, 16, 16)
    with torch.no_grad():
        torch.nn.init.normal_(encoder.query_tokens)
        first, second = (encoder({"pixels": pixels}).values[0] for pixels in (one, other))
    assert ((first - second).abs().amax(-1) > 1e-6).all()
    assert not torch.allclose(first[0], first[1])


def test_only_its_own_parts_of_a_blip_2_are_read(tmp_path: Path) -> None:
    encoder = small()
    there = {ours: theirs for theirs, ours in PREFIXES.items()}
    state = {}
    for name, tensor in encoder.state_dict().items():
        ours = next(prefix for prefix in there if name.startswith(prefix))
        state[there[ours] + name.removeprefix(ours)] = tensor.clone()
    save_file(state | {"language_model.head": torch.zeros(3)}, tmp_path / "model.safetensors")
    Blip2Config(
        vision_config=EVA, qformer_config=QFORMER | {"encoder_hidden_size": 16}, num_query_tokens=3
    ).save_pretrained(tmp_path)
    assert stored(str(tmp_path)).keys() == state.keys()
    again = Blip2Encoder(path=str(tmp_path)).eval()
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    del state["query_tokens"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"its config\.json and weights disagree about query_tokens"):
        Blip2Encoder(path=str(tmp_path))


def test_one_of_path_and_config() -> None:
    with pytest.raises(ValueError, match="give either path"):
        Blip2Encoder()
    with pytest.raises(ValueError, match=r"qformer.hidden_sice: .*Did you mean: 'hidden_size'"):
        Blip2Encoder(config=EVA, qformer={"hidden_sice": 3})
