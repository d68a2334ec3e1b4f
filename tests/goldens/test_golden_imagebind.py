"""ImageBind's trunks and transforms against the published implementation, and the published checkpoint's keys."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from golden import READ, ROOT, Case, absent, cases, required
from torch import Tensor

from anyx.encoders.imagebind import ImageBind
from anyx.encoders.imagebind_transforms import AudioTransform, VisionTransform
from anyx.media import Audio, Image, Video

NAMES = {  # what a sidecar calls our keywords
    "width": "dim",
    "depth": "depth",
    "heads": "heads",
    "out_dim": "out_dim",
    "mlp_ratio": "mlp_ratio",
    "kernel": "kernel",
    "stride": "stride",
    "img_size": "image_size",
    "video_frames": "frames",
    "mel": "mels",
    "target_len": "length",
    "vocab": "vocab",
    "context": "context",
}


@pytest.mark.parametrize("pattern", ["vision*", "audio*", "text*"])
def test_there_are_cases(pattern: str) -> None:
    assert list((ROOT / "01_imagebind").glob(f"{pattern}.safetensors")), f"no {pattern} in {ROOT / '01_imagebind'}"


def trunk_cases() -> list[Any]:
    """Cases of a trunk that we have, by what the sidecar says."""
    params = cases("01_imagebind", "*")
    found = [
        p for p in params if p.values[0] is None or p.values[0].sizes.get("modality") in ("vision", "audio", "text")
    ]
    return found or [pytest.param(None, id="no trunk")]


@pytest.mark.parametrize("found", trunk_cases())
def test_trunk(found: Case | None) -> None:
    case = required(found)
    trunk = case.sizes["modality"]
    model = ImageBind({trunk: {ours: case.sizes[theirs] for theirs, ours in NAMES.items() if theirs in case.sizes}})
    model.load_state_dict(case.weights())
    x = case.tensors["in.x"]
    items = x.flatten(0, 1) if x.ndim >= 5 else x
    outputs: dict[str, Tensor] = {"tokens": model.modality_preprocessors[trunk](items)}
    outputs["trunk"] = model.modality_trunks[trunk](outputs["tokens"])
    place = items.argmax(-1) if trunk == "text" else torch.zeros(len(items), dtype=torch.long)
    outputs["head"] = model.modality_heads[trunk](outputs["trunk"][torch.arange(len(items)), place])
    outputs["post"] = model.embed(trunk, items if trunk == "text" else items[:, None], scaled=True)
    outputs["embedding"] = model.embed(trunk, x, scaled=True)
    case.compare(outputs)


@pytest.mark.parametrize("found", cases("01_imagebind", "image_transform*"))
def test_image_transform(found: Case | None) -> None:
    if found is None:
        return absent("image_transform")
    transform = VisionTransform(size=found.sizes["size"], mean=found.sizes["mean"], std=found.sizes["std"])
    pixels = torch.stack([transform(Image.read(x.numpy()))["pixels"] for _, x in sorted(found.part("in").items())])
    found.compare(sampled(found, pixels) | statistics(found, pixels))


@pytest.mark.parametrize("found", cases("01_imagebind", "video_transform*"))
def test_video_transform(found: Case | None) -> None:
    if found is None:
        return absent("video_transform")
    s = found.sizes
    clips = {"clips": s["clips_per_video"], "frames": s["frames_per_clip"], "clip_seconds": float(s["clip_duration"])}
    transform = VisionTransform(s["short_side"], crops=s["crops"], mean=s["mean"], std=s["std"], **clips)
    video = Video(found.tensors["in.frames"].permute(0, 3, 1, 2).contiguous(), s["fps"])
    views = transform(video)["pixels"][None]
    assert list(views.shape) == found.tensors["out.full_shape"].tolist()
    found.compare(sampled(found, views) | statistics(found, views))


@pytest.mark.parametrize("found", cases("01_imagebind", "audio_transform*"))
def test_audio_transform(found: Case | None) -> None:
    if found is None:
        return absent("audio_transform")
    s = found.sizes
    transform = AudioTransform(
        rate=s["sample_rate"],
        mels=s["num_mel_bins"],
        length=s["target_length"],
        clips=s["clips_per_video"],
        clip_seconds=float(s["clip_duration"]),
        mean=s["mean"],
        std=s["std"],
    )
    audio = Audio(found.tensors["in.pcm16"].float() / 32768, s["sample_rate_in"])
    found.compare({"mel": transform(audio)["mel"][None]})


def sampled(case: Case, pixels: Tensor) -> dict[str, Tensor]:
    """The sub-sampled outputs a case stores, as their names say: `*_stride16`, `*_row100`, `first_last_row100`."""
    outputs = {}
    for name in case.part("out"):
        if stride := re.search(r"_stride(\d+)$", name):
            outputs[name] = pixels[..., :: int(stride[1]), :: int(stride[1])]
        elif row := re.search(r"_row(\d+)$", name):
            kept = pixels[:, [0, -1]] if name.startswith("first_last") else pixels
            outputs[name] = kept[..., int(row[1]), :]
    return outputs


def statistics(case: Case, pixels: Tensor) -> dict[str, Tensor]:
    flat = pixels.double().flatten(-2)
    outputs = {"mean": flat.mean(-1), "std": flat.std(-1)}
    return {name: value for name, value in outputs.items() if name in case.part("out")}


def test_published_keys_and_shapes() -> None:
    files = sorted((ROOT / "01_imagebind").glob("*_huge_keys.json"))
    if not files:
        absent("list of published keys")
    for file in files:
        READ.setdefault(f"01_imagebind/{file.stem}", 0.0)
        trunks = ("vision", "audio", "text")
        known = {k: v for k, v in json.loads(file.read_text())["keys"].items() if k.split(".")[1] in trunks}
        with torch.device("meta"):
            model = ImageBind({trunk: {} for trunk in trunks})
        assert {k: list(v.shape) for k, v in model.state_dict().items()} == {k: v["shape"] for k, v in known.items()}
        assert {k for k, _ in model.named_parameters()} == {k for k, v in known.items() if v["kind"] == "parameter"}
