"""Embedders and what is measured by them, on pictures, sounds and clips made here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from anyx.media import Audio, Image, Video
from anyx.scoring.clip import ClipEmbedder
from anyx.scoring.embedders import Embedder, Handcrafted, Medium, RandomConv, embed, looks
from anyx.scoring.features import Floats
from anyx.scoring.frechet import frechet
from anyx.scoring.kernel import kid
from anyx.scoring.similarity import alignment, consistency


def picture(red: float, seed: int = 0) -> Image:
    dice = torch.Generator().manual_seed(seed)
    pixels = torch.rand((3, 20, 24), generator=dice) * 255
    pixels[0] *= red
    return Image(pixels.to(torch.uint8))


def sound(hertz: float, seed: int = 0) -> Audio:
    dice = torch.Generator().manual_seed(seed)
    time = torch.arange(1600) / 8000
    return Audio((0.5 * torch.sin(6.2832 * hertz * time) + 0.05 * torch.randn(1600, generator=dice))[None], 8000)


def clip(step: int, seed: int = 0) -> Video:
    start = picture(1, seed).pixels
    return Video(torch.stack([start.roll(step * t, dims=2) for t in range(4)]), 4.0)


def test_looks_by_hand() -> None:
    """Left half black, right half white, of 4 columns: halves in the first and last bin; edges run across, on the two
    columns in the middle, of strength (1 - 0) / 2 each: 0.25 on average; each channel deviates by a half.
    """
    pixels = np.zeros((4, 4, 3))
    pixels[:, 2:] = 1
    found = looks(pixels)
    histogram = [0.5, 0, 0, 0, 0, 0, 0, 0.5]
    assert found[:24] == pytest.approx(histogram * 3)
    assert found[24:32] == pytest.approx([0.25, *[0] * 7])
    assert found[32:] == pytest.approx([0.25, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("embedder", [Handcrafted(), RandomConv()], ids=lambda one: one.name)
def test_features_tell_distributions_apart(embedder: Embedder) -> None:
    """Those alike stand near, those unlike far, of each kind; the same media have the same features."""
    makers: list[tuple[list[Medium], list[Medium], list[Medium]]] = [
        (
            [make(value, seed) for seed in range(12)],
            [make(value, seed) for seed in range(12, 24)],
            [make(other, seed) for seed in range(24, 36)],
        )
        for make, value, other in ((picture, 1.0, 0.3), (sound, 300.0, 2000.0), (clip, 0, 5))
    ]
    for real, alike, unlike in makers:
        features = embed(real, embedder)
        assert features.values.shape == (12, embedder.dim)
        assert features.embedder == embedder.name
        assert np.array_equal(features.values, embedder(real))
        near, far = (embed(some, embedder) for some in (alike, unlike))
        for measure in (frechet, kid):
            metric = measure(features, near).metric
            close, apart = measure(features, near).figures[metric], measure(features, far).figures[metric]
            assert close is not None
            assert apart is not None
            assert apart > 2 * abs(close)
    with pytest.raises(ValueError, match="takes pictures, sounds and clips, but str was given"):
        embedder(["words"])


def test_names_tell_weights_apart() -> None:
    assert RandomConv(0).name == RandomConv(0).name
    assert RandomConv(0).name.partition("#")[2] != RandomConv(1).name.partition("#")[2]


class Given:
    """Features looked up: the brightness of a picture's corner chooses the row; texts have the first."""

    name = "given@1"
    dim = 2

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = np.array(rows)

    def __call__(self, media: list[Medium]) -> Floats:
        return np.stack([self.rows[0 if isinstance(one, str) else int(one.pixels[0, 0, 0])] for one in media])


def shades(*values: int) -> Video:
    return Video(torch.stack([torch.full((3, 4, 4), value, dtype=torch.uint8) for value in values]), 1.0)


def test_similarities_by_hand() -> None:
    """Against (1, 0): a frame at (3, 4) has cosine 0.6, one at (-1, 0) has -1. Their mean is -0.2; Hessel's scale makes
    of them 1.5 and 0, 0.75 on average. Of frames 0, 1, 2 successive cosines are 0.6 and -0.6, and 0 with 2 is -1.
    """
    embedder = Given([[1, 0], [3, 4], [-1, 0]])
    assert alignment([shades(1, 2)], ["x"], embedder).figures == pytest.approx({"clipsim": -0.2})
    scaled = alignment([shades(1, 2)], ["x"], embedder, scaling="clip-s@hessel")
    assert scaled.figures == pytest.approx({"clip-s@hessel": 0.75})
    assert scaled.by == {"embedder": "given@1"}
    three = [shades(0, 1, 2)]
    assert consistency(three, embedder).items == pytest.approx([0], abs=1e-12)
    assert consistency(three, embedder, pairs="all").items == pytest.approx([-1 / 3])


def test_what_cannot_be_compared() -> None:
    embedder = Given([[1, 0]])
    for message, call in (
        ("scaling: 'x' given", lambda: alignment([], [], embedder, scaling="x")),
        ("1 made media but 0", lambda: alignment([shades(0)], [], embedder)),
        ("pairs: 'x' given", lambda: consistency([], embedder, pairs="x")),
        ("a single frame", lambda: consistency([shades(0)], embedder)),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_clip_from_a_folder(tmp_path: Path) -> None:
    """A tiny random CLIP: pictures and texts in its space, and a digest of its weights in the name."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    letters = [*"abc", *(f"{letter}</w>" for letter in "abc"), "<|startoftext|>", "<|endoftext|>"]
    text = {**sizes, "vocab_size": len(letters), "max_position_embeddings": 6, "bos_token_id": 6, "eos_token_id": 7}
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 8, "patch_size": 4}, projection_dim=5)
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    CLIPTokenizer(vocab={token: place for place, token in enumerate(letters)}, merges=[]).save_pretrained(tmp_path)
    embedder = ClipEmbedder(tmp_path)
    found = embedder([picture(1), "abc abc abc", clip(1)])
    assert found.shape == (3, embedder.dim) == (3, 5)
    assert np.abs(found).min() > 0
    assert np.allclose(found[2], embedder([Image(frame) for frame in clip(1).frames]).mean(0))
    name, _, weights = embedder.name.partition("#")
    assert name == f"clip@{tmp_path.name}"
    assert len(weights) == 12
    assert alignment([picture(1)], ["abc"], embedder).by == {"embedder": embedder.name}
    with pytest.raises(ValueError, match="pictures, clips and texts, but Audio was given"):
        embedder([sound(100)])
    with pytest.raises(ValueError, match=r"a local folder with a config\.json, but 'nowhere' has none"):
        ClipEmbedder("nowhere")
