"""Stages without an LLM: contrastive trunks, an autoencoder, a denoiser on cached latents; folders that load again."""

from pathlib import Path
from typing import Any

import components
import pytest
import torch

from anyx import config as configs
from anyx.data.cache import FeatureCache
from anyx.data.sources import Feed
from anyx.decoders.stable_diffusion import StableDiffusionDecoder
from anyx.encoders.imagebind import ImageBindEncoder
from anyx.media import Audio, Image
from anyx.schema import Stage
from anyx.training import run
from anyx.training.backbones import Backbones
from anyx.training.report import Metrics

TEXT = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
YAML: dict[str, Any] = {
    "encoders": {
        "vision": {"type": "imagebind", **components.TINY["encoders"]["imagebind"][0]},
        "sound": {"type": "imagebind", **components.TINY["encoders"]["imagebind"][2]},
    },
    "inputs": {"image": {"encoder": "vision"}, "speech": {"encoder": "sound", "media": "audio"}},
    "outputs": {
        "image": {
            "decoder": {
                "type": "stable_diffusion",
                **components.TINY["decoders"]["stable_diffusion"][0],
                "text": TEXT,
                "tokenizer": {"words": ["one", "two"], "length": 5},
            }
        }
    },
}


def feed() -> Feed:
    """Three pictures and sounds, each its own level and pitch."""
    time = torch.arange(16000) / 16000
    records = [
        {
            "id": str(index),
            "media": {
                "image": Image(torch.full((3, 16, 16), 80 * index, dtype=torch.uint8)),
                "speech": Audio(torch.sin(2000 * (index + 1) * time)[None], 16000),
            },
            "caption": ["one", "two", "one two"][index],
        }
        for index in range(3)
    ]
    return Feed("pairs", records)


def fit(
    model: Backbones, out: Path, name: str, train: dict[str, float], losses: dict[str, Any], steps: int = 12
) -> list[float]:
    metrics = Metrics(out / "metrics.csv", list(losses))
    given = Stage(
        name, train, losses, {"pairs": 1}, steps=steps, batch_size=3, log_every=2, warmup=0, schedule="constant"
    )
    run.fit(model, given, [feed()], [1.0], run.Run(out, metrics, FeatureCache(out / "features"), device="cpu"))
    return metrics.curves()[name]["loss"][1]


def model() -> Backbones:
    torch.manual_seed(0)
    return Backbones.build(configs.check(YAML))


def test_parts_are_those_of_the_configuration() -> None:
    names = [
        "encoders.vision",
        "encoders.sound",
        *(f"outputs.image.decoder.{part}" for part in ("vae", "denoiser", "text")),
    ]
    assert list(model().parts()) == names


def test_trunks_learn_by_contrast(tmp_path: Path) -> None:
    options = {"pairs": [["image", "speech"]], "learn_temperature": True, "temperature": 0.2}
    made = model()
    before = made.outputs["image"].decoder.unet.conv_in.weight.clone()
    values = fit(made, tmp_path, "trunks", {"encoders.*": 3e-3}, {"contrastive": options}, steps=30)
    assert values[-1] < 0.7 * values[0]
    assert torch.equal(before, made.outputs["image"].decoder.unet.conv_in.weight)


def test_an_autoencoder_then_a_denoiser(tmp_path: Path) -> None:
    made = model()
    decoder = made.outputs["image"].decoder
    losses = {"reconstruct": {"kl": 1e-4, "edges": 0.5}}
    values = fit(made, tmp_path, "vae", {"outputs.image.decoder.vae": 1e-2}, losses)
    assert values[-1] < values[0]
    media = [record["media"]["image"] for record in feed().source]
    assert decoder.latents(media).std().item() == pytest.approx(1, rel=1e-3)
    calls = []
    decoder.vae.encoder.register_forward_hook(lambda *_: calls.append(1))
    train = {"outputs.image.decoder.denoiser": 3e-3, "outputs.image.decoder.text": 1e-3}
    fit(made, tmp_path, "both", train, {"denoise": {"drop": 0.1}})
    assert len(calls) == 1  # three pictures in one batch, then latents from the cache
    fit(made, tmp_path, "denoiser", {"outputs.image.decoder.denoiser": 3e-3}, {"denoise": 1})
    assert len(calls) == 1


def test_saved_folders_are_what_path_reads(tmp_path: Path) -> None:
    made = model()
    made.save_pretrained(tmp_path)
    node = YAML["encoders"]["vision"]
    given = {name: value for name, value in node.items() if name != "type"}
    again = ImageBindEncoder(path=str(tmp_path / "encoders" / "vision"), **given)
    assert all(torch.equal(x, again.state_dict()[name]) for name, x in made.encoders["vision"].state_dict().items())
    decoder = StableDiffusionDecoder(path=str(tmp_path / "decoders" / "image"))
    assert torch.equal(decoder.unet.conv_in.weight, made.outputs["image"].decoder.unet.conv_in.weight)
