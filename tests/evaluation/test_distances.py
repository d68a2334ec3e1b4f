"""Two folders of media to figures: each metric on files whose figures are known, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from anyx.evaluation.distances import METRICS, Measures, distances, files_of
from anyx.evaluation.embedding import EMBEDDERS, embedder
from anyx.evaluation.fidelity import Fidelity
from anyx.media import Audio, Image, Video
from anyx.scoring.embedders import Handcrafted, Medium, embed
from anyx.scoring.features import Floats
from anyx.scoring.frechet import frechet
from anyx.scoring.kernel import kid

COUNT = 6
HANDCRAFTED = Measures()


def noise(seed: int, level: int = 60) -> Image:
    dice = torch.Generator().manual_seed(seed)
    return Image((128 + torch.randint(-level, level + 1, (3, 16, 20), generator=dice)).to(torch.uint8))


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """Made ones are a grey level of 8 off, in other files' endings; beside them lie what is no medium."""
    for place in range(COUNT):
        real = noise(place)
        real.save(tmp_path / "real" / f"a/{place}.png")
        Image(real.pixels + 8).save(tmp_path / "made" / f"a/{place}.tiff")
    (tmp_path / "made" / "notes.txt").write_text("by hand")
    (tmp_path / "made" / ".hidden.png").write_bytes(b"")
    return tmp_path / "real", tmp_path / "made"


def measured(folders: tuple[Path, Path], *metrics: str, measures: Measures = HANDCRAFTED) -> dict[str, dict[str, Any]]:
    found = distances(*folders, metrics, measures, show=False)
    return {one["metric"]: one for one in found["results"]}


class Names:
    """Marks texts by their length, pictures by how bright they are."""

    name, dim = "names@test", 2

    def __call__(self, media: Any) -> Floats:
        return np.array([[1.0, 0.0] if isinstance(one, str) else [1.0, 1.0] for one in media])


def test_sets_are_compared_as_the_metrics_say(pictures: tuple[Path, Path]) -> None:
    found = measured(pictures, "kid", "frechet")
    real, made = ([Image.read(file) for file in files_of(folder)[1].values()] for folder in pictures)
    sets = [embed(list[Medium](side), Handcrafted()) for side in (real, made)]
    assert found["kid"]["figures"] == kid(*sets).figures
    assert found["frechet"]["figures"] == frechet(*sets).figures
    assert found["kid"]["by"]["embedder"] == "handcrafted@1"
    again = measured((pictures[0], pictures[0]), "frechet")
    assert again["frechet"]["figures"]["frechet"] == pytest.approx(0, abs=1e-9)


def test_pairs_are_told_by_name(pictures: tuple[Path, Path]) -> None:
    """8 levels off everywhere: 10 log10(255^2 / 64) dB, and the same structure on a brighter ground."""
    found = measured(pictures, "psnr", "ssim", "similarity")
    assert found["psnr"]["figures"]["psnr"] == pytest.approx(10 * math.log10(255**2 / 64))
    assert (found["psnr"]["n"], found["psnr"]["interval"]) == (COUNT, None), "all alike"
    assert 0.9 < found["ssim"]["figures"]["ssim"] < 1
    low, high = found["ssim"]["interval"]
    assert low <= found["ssim"]["figures"]["ssim"] <= high
    assert found["similarity"]["figures"]["similarity"] > 0.9


def test_texts(pictures: tuple[Path, Path]) -> None:
    """The angle is 45 degrees: its cosine is the root of a half."""
    captions = {f"a/{place}": "a picture" for place in range(COUNT)}
    measures = Measures({"type": "test_distances:Names"}, captions=captions)
    found = measured(pictures, "clipsim", "clip-s@hessel", "similarity", measures=measures)
    assert found["clipsim"]["figures"]["clipsim"] == pytest.approx(math.sqrt(0.5))
    assert found["clip-s@hessel"]["figures"]["clip-s@hessel"] == pytest.approx(2.5 * math.sqrt(0.5))
    assert found["similarity"]["figures"]["similarity"] == pytest.approx(1)


def test_labels(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    """Logits of one file of weights: KL of a folder from itself is 0, and the score is at least 1."""
    torch.save(networks.inception(), tmp_path / "w.pth")
    measures = Measures({"type": "inception", "path": str(tmp_path / "w.pth")})
    found = measured(pictures, "frechet", "inception_score", "kl", measures=measures)
    assert found["inception_score"]["figures"]["inception_score"] >= 1
    assert found["inception_score"]["by"]["splits"] == str(COUNT), "no more parts than media"
    names = [found[metric]["by"]["embedder"] for metric in ("frechet", "inception_score", "kl")]
    assert [" features#" in name for name in names] == [True, False, False]
    same = measured((pictures[0], pictures[0]), "kl", measures=measures)
    assert same["kl"]["figures"]["kl"] == pytest.approx(0, abs=1e-4)


def test_sounds_and_clips(tmp_path: Path) -> None:
    for place in range(3):
        dice = torch.Generator().manual_seed(place)
        sound = Audio(0.1 * torch.randn((1, 4000), generator=dice), 16000)
        sound.save(tmp_path / "real" / f"{place}.wav")
        sound.save(tmp_path / "made" / f"{place}.flac")
        still = Video(torch.stack([noise(place).pixels] * 3), 4.0)
        still.save(tmp_path / "clips" / f"{place}.mp4")
    torch.save(networks.vggish(), tmp_path / "v.pth")
    measures = Measures({"type": "vggish", "path": str(tmp_path / "v.pth"), "pooled": False})
    found = measured((tmp_path / "real", tmp_path / "made"), "mcd", "frechet", measures=measures)
    assert found["mcd"]["figures"]["mcd"] < 0.1, "16 bits of the same"
    assert found["frechet"]["figures"]["frechet"] < 1e-6
    found = measured((tmp_path / "clips", tmp_path / "clips"), "consistency")
    assert found["clip-i"]["figures"]["clip-i"] == pytest.approx(1, abs=1e-3), "a clip where nothing moves"


def test_lpips(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    from anyx.scoring.lpips import LAYOUTS, Lpips

    weights, heads, width = {}, {}, 3
    for place in LAYOUTS["vgg"].convolutions:
        weights[f"features.{place}.weight"] = torch.randn(4, width, 3, 3)
        weights[f"features.{place}.bias"], width = torch.zeros(4), 4
    for depth in range(5):
        heads[f"lin{depth}.model.1.weight"] = torch.ones(1, 4, 1, 1)
    save_file(weights, tmp_path / "vgg.safetensors")
    save_file(heads, tmp_path / "heads.safetensors")
    measures = Measures(lpips=Lpips(tmp_path / "vgg.safetensors", tmp_path / "heads.safetensors"))
    found = measured(pictures, "lpips", measures=measures)
    assert found["lpips"]["figures"]["lpips"] > 0
    assert found["lpips"]["by"]["embedder"].startswith("lpips@0.1 vgg#")


BAD: list[tuple[str, Measures, str]] = [
    ("fid", HANDCRAFTED, r"--metric: 'fid' is not one of kid, frechet, inception_score"),
    ("mcd", HANDCRAFTED, "--metric: mcd is of audio, but these are image"),
    ("lpips", HANDCRAFTED, "--lpips: the weights of LPIPS are missing"),
    ("clipsim", HANDCRAFTED, "--captions: clipsim compares with texts"),
    ("clipsim", Measures(captions={"a/0": "x"}), "--captions: 5 of 6 media have no text, such as 'a/1'"),
    ("kl", HANDCRAFTED, "--embedder: handcrafted gives features and no logits; inception, cnn14 give both"),
    ("kid", Measures({"type": "vgg"}), r"--embedder.type: 'vgg' is not one of handcrafted, .*, or of the form"),
    (
        "kid",
        Measures({"type": "handcrafted", "path": "x"}),
        "--embedder: got an unexpected keyword argument 'path'; it takes nothing",
    ),
    (
        "kid",
        Measures({"type": "inception"}),
        "--embedder: missing a required argument: 'path'; it takes path, output, device",
    ),
]


@pytest.mark.parametrize(("metric", "measures", "wanted"), BAD, ids=[row[2][:30] for row in BAD])
def test_mistakes(pictures: tuple[Path, Path], metric: str, measures: Measures, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        measured(pictures, metric, measures=measures)


def test_folders_that_do_not_go_together(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    real, made = pictures
    with pytest.raises(ValueError, match=r"there is no folder '.*none'"):
        measured((real, tmp_path / "none"), "kid")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no media; media of one kind are wanted: image, audio, video"):
        measured((tmp_path / "empty", made), "kid")
    Audio(torch.zeros(1, 4000), 16000).save(tmp_path / "sounds" / "0.wav")
    with pytest.raises(ValueError, match="--metric: kid takes two media a side or more, not 1 and 1"):
        measured((tmp_path / "sounds", tmp_path / "sounds"), "kid")
    with pytest.raises(ValueError, match=r"holds image and .* holds audio"):
        measured((real, tmp_path / "sounds"), "kid")
    noise(1).save(tmp_path / "sounds" / "0.png")
    with pytest.raises(ValueError, match="holds audio and image; media of one kind"):
        measured((tmp_path / "sounds", made), "kid")
    noise(9).save(made / "z.png")
    with pytest.raises(ValueError, match="1 of 7 made media have no real one, such as 'z'; real ones are called"):
        measured(pictures, "psnr")
    noise(9).save(made / "a" / "0.png")
    with pytest.raises(ValueError, match=r"holds two media called 'a/0': 0.png and 0.tiff"):
        measured(pictures, "kid")
    (made / "a" / "0.png").unlink()
    (made / "z.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"z\.png"):
        measured(pictures, "kid")
    Image(noise(9).pixels[:, :8]).save(made / "a" / "1.tiff")
    (made / "z.png").unlink()
    with pytest.raises(ValueError, match=r"a/1\.tiff: pictures are compared at one size"):
        measured(pictures, "psnr")


def test_a_yaml_names_them_too(tmp_path: Path) -> None:
    """`embedders:` of an evaluation.yaml, with a path in its own folder."""
    torch.save(networks.inception(), tmp_path / "w.pth")
    made = Fidelity(None, {"image": {"type": "inception", "path": "w.pth"}}, tmp_path, tmp_path)  # type: ignore[arg-type]
    assert made.embedders["image"].name.startswith("inception-v3@torch-fidelity features#")
    with pytest.raises(ValueError, match=r"embedders.image.type: 'incption' is not one of"):
        Fidelity(None, {"image": {"type": "incption"}}, tmp_path)  # type: ignore[arg-type]


def test_all_names_lead_somewhere() -> None:
    for name in EMBEDDERS:
        try:
            made = embedder({"type": name}, "x")
        except ValueError as error:
            assert "x: missing a required argument: 'path'" in str(error), name  # noqa: PT017
        else:
            assert made.dim > 0
    assert len(set(METRICS)) == len(METRICS)
