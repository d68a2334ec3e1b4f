"""Published networks over small seeded weights; wanted are what their own packages gave of the same files.

They are torch-fidelity 0.4.0 (FeatureExtractorInceptionV3), torchvggish 0.2 and panns-inference 0.1.1, each with its
layers cut to the widths of `networks`. At full width they agreed to 5e-7, on random weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from anyx.media import Audio, Image, Video
from anyx.scoring.inception_v3 import InceptionV3, resized
from anyx.scoring.sound_nets import Cnn14, Vggish

PICTURE, SOUND = Image(networks.picture()), Audio(networks.sound(), 16000)


def saved(folder: Path, weights: dict[str, Tensor], name: str = "w.pth") -> Path:
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"model": weights}, path)
    return path


def near(found: Any, wanted: Any) -> bool:
    return bool(np.allclose(found, wanted, atol=2e-5, rtol=1e-4))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_inception_is_that_of_torch_fidelity(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, networks.inception(), name)
    logits = InceptionV3(path, output="logits")
    wanted = [0.16843153536, 0.07915506982, 0.28113417506, 0.06547895082, -0.06364091248]
    assert near(logits([PICTURE]), [wanted])
    features = InceptionV3(path)
    assert near(features([PICTURE])[0, :3], [0, 0.0013775151, 0])
    assert (features.dim, logits.dim) == (6 * networks.WIDTH, 5)
    assert features([]).shape == (0, 6 * networks.WIDTH)
    assert features.name.startswith("inception-v3@torch-fidelity features#")
    assert features.name.partition("#")[2] == logits.name.partition("#")[2]


def test_a_clip_is_the_mean_of_its_frames(tmp_path: Path) -> None:
    net = InceptionV3(saved(tmp_path, networks.inception()), output="logits")
    other = Image(255 - PICTURE.pixels)
    clip = Video(torch.stack([PICTURE.pixels, other.pixels]), 2.0)
    assert near(net([clip])[0], net([PICTURE, other]).mean(0))


def test_pictures_are_resized_as_tensorflow_did() -> None:
    """Of two pixels to three: places 0, 2/3 and 4/3, of which the last lies beyond the second pixel."""
    assert near(resized(torch.tensor([[[[0.0, 3.0]]]]), 3)[0, 0, 0], [0, 2, 3])


def test_vggish_is_that_of_torchvggish(tmp_path: Path) -> None:
    """Two examples of 0.96 s; the last features are below zero before the ReLU."""
    path = saved(tmp_path, networks.vggish())
    wanted = [
        [0.2132697105, 0.1070076823, 0.2764543295, -0.0924971476, -0.0075876969, -0.0934056789],
        [0.2162696421, 0.1109199971, 0.2788249850, -0.0946825296, -0.0060132281, -0.0952849239],
    ]
    assert near(Vggish(path, pooled=False)([SOUND]), wanted)
    assert near(Vggish(path, pooled=False, activation=True)([SOUND]), np.maximum(wanted, 0))
    assert near(Vggish(path)([SOUND, SOUND]), [np.mean(wanted, axis=0)] * 2)
    assert Vggish(path, pooled=False)([Audio(SOUND.samples[:, :100], 16000)]).shape == (1, 6), "silence fills it"
    assert Vggish(path).name != Vggish(path, pooled=False).name


def test_cnn14_is_that_of_panns(tmp_path: Path) -> None:
    path = saved(tmp_path, networks.cnn14())
    wanted = [-0.1180737155, 0.1117078347, 0.2288625387, -0.3721193148, -0.3223105240, -0.0671020885, -0.2228513294]
    assert near(Cnn14(path, output="logits")([SOUND]), [wanted])
    features = Cnn14(path)
    assert near(features([SOUND]), [[0, 0, 0.2632863820, 0.0192047413, 0, 0, 0, 0.2391695380]])
    assert "16000 Hz" in features.name
    assert features([Audio(SOUND.samples[:, :100], 16000)]).shape == (1, 8), "silence fills it"
    sung = Video(PICTURE.pixels[None], 1.0, SOUND)
    assert near(features([sung]), features([SOUND]))


@pytest.mark.parametrize(
    ("make", "weights", "wrong", "wanted"),
    [
        (InceptionV3, networks.inception, SOUND, "Inception takes pictures and clips, but Audio was given"),
        (Vggish, networks.vggish, PICTURE, "VGGish takes sounds, but Image was given"),
        (Cnn14, networks.cnn14, Video(PICTURE.pixels[None], 1.0), "Cnn14 takes sounds, but a clip without sound"),
    ],
)
def test_what_they_do_not_take(make: Any, weights: Any, wrong: Any, wanted: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=wanted):
        make(saved(tmp_path, weights()))([wrong])
    with pytest.raises(ValueError, match="path: there is no file"):
        make(tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"has no \S+; it is to be .*, but it has a"):
        make(saved(tmp_path, {"a": torch.zeros(1)}))
    torch.save({"a": Path("/")}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="nothing in it was run"):
        make(tmp_path / "code.pth")


def test_settings_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="output: 'labels' is not one of features, logits"):
        InceptionV3(tmp_path, output="labels")  # type: ignore[arg-type]
    odd = networks.cnn14()
    for part in ("real", "imag"):
        odd[f"spectrogram_extractor.stft.conv_{part}.weight"] = torch.zeros(257, 1, 500)
    with pytest.raises(ValueError, match="has windows of 500, which no known rate has"):
        Cnn14(saved(tmp_path, odd))
