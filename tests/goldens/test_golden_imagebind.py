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
from anyx.encoders.imagebind_sizes import SIZES
from anyx.encoders.imagebind_text import PUBLISHED, TextTransform
from anyx.encoders.imagebind_transforms import AudioTransform, VisionTransform, clip_starts
from anyx.media import Audio, Image, Video
from anyx.packaged import FetchError, locate

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
    "length": "length",
    "channels": "channels",
    "vocab": "vocab",
    "context": "context",
}


@pytest.mark.parametrize(
    "found", [param for name in (*SIZES, "clip_tokenizer") for param in cases("01_imagebind", f"{name}*")]
)
def test_there_are_cases_of_every_tower(found: Case | None) -> None:
    assert required(found).part("out")


def trunk_cases() -> list[Any]:
    """Cases of one trunk alone, as the sidecar says."""
    params = cases("01_imagebind", "*")
    found = [p for p in params if p.values[0] is None or p.values[0].sizes.get("modality") in SIZES]
    return found or cases("01_imagebind", "text")


def built(case: Case, trunk: str, given: dict[str, Any]) -> ImageBind:
    """The trunk with the case's weights; what a constant factor starts at is checked before they are loaded."""
    sizes = {ours: case.sizes[theirs] for theirs, ours in NAMES.items() if theirs in case.sizes} | given
    model = ImageBind({trunk: sizes}).eval()
    scale = case.sizes.get("logit_scale")
    if isinstance(scale, int | float):
        held = model.state_dict()[f"modality_postprocessors.{trunk}.1.log_logit_scale"]
        assert held.exp().item() == pytest.approx(scale)
    model.load_state_dict(case.weights())
    return model


@pytest.mark.parametrize("found", trunk_cases())
def test_trunk(found: Case | None) -> None:
    case = required(found)
    trunk = case.sizes["modality"]
    model = built(case, trunk, {})
    x = case.tensors["in.x"]
    items = x.flatten(0, 1) if x.ndim >= 5 else x
    outputs: dict[str, Tensor] = {"tokens": model.modality_preprocessors[trunk](items)}
    outputs["trunk"] = model.modality_trunks[trunk](outputs["tokens"])
    ids = not items.is_floating_point()
    place = items.argmax(-1) if ids else torch.zeros(len(items), dtype=torch.long)
    outputs["head"] = model.modality_heads[trunk](outputs["trunk"][torch.arange(len(items)), place])
    outputs["post"] = model.embed(trunk, items if ids else items[:, None], scaled=True)
    outputs["embedding"] = model.embed(trunk, x, scaled=True)
    if ids:
        outputs["seq_len"] = place
    case.compare(outputs)
    assert set(case.part("out")) == set(outputs)


@pytest.mark.parametrize("found", cases("01_imagebind", "audio_end_to_end*"))
def test_sound_to_embedding(found: Case | None) -> None:
    case = required(found)
    kernel = case.shapes["modality_preprocessors.audio.rgbt_stem.proj.weight"][-1]
    model = built(case, "audio", {"kernel": kernel})
    pcm = case.tensors["in.pcm16"]
    audio = Audio(pcm.float() / 32768, round(pcm.shape[1] / case.sidecar["size_config"]["sec"]))
    case.compare(
        {"embedding": model.embed("audio", AudioTransform(first_channel=True)(audio)["mel"][None], scaled=True)}
    )


@pytest.mark.parametrize("found", cases("01_imagebind", "clip_tokenizer*"))
def test_text_to_ids(found: Case | None) -> None:
    case = required(found)
    try:
        transform = TextTransform(locate(PUBLISHED), case.sizes["context"])
    except FetchError as error:
        pytest.skip(f"CLIP's merges are not in the cache and could not be fetched (`anyx fetch {PUBLISHED}`): {error}")
    assert transform.ends == (case.sizes["sot"], case.sizes["eot"])
    texts, wanted = case.sidecar["texts"], case.tensors["out.ids"]
    case.compare({"ids": torch.stack([transform(text)["ids"] for text in texts])})
    assert len(texts) == len(wanted)


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
    times = clip_times(video.seconds, s)
    found.compare(sampled(found, views) | statistics(found, views) | {"clip_times": times})


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
        first_channel=True,
    )
    audio = Audio(found.tensors["in.pcm16"].float() / 32768, s["sample_rate_in"])
    wave, wanted = audio.resample(s["sample_rate"]), found.part("out")
    outputs = {"mel": transform(audio)["mel"][None], "clip_times": clip_times(wave.seconds, s)}
    outputs["wave16k_head"] = wave.samples[:, : wanted["wave16k_head"].shape[1]]
    outputs["n_samples_16k"] = torch.tensor(wave.samples.shape[1])
    found.compare(outputs)
    assert set(wanted) == set(outputs)


def clip_times(seconds: float, sizes: dict[str, Any]) -> Tensor:
    """Start and end of every clip."""
    starts = torch.tensor(clip_starts(seconds, sizes["clip_duration"], sizes["clips_per_video"]), dtype=torch.float64)
    return torch.stack([starts, starts + sizes["clip_duration"]], 1)


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
    """All towers together have the published file's keys, shapes and kinds, no more, no fewer."""
    files = sorted((ROOT / "01_imagebind").glob("*_huge_keys.json"))
    if not files:
        absent("list of published keys")
    for file in files:
        READ.setdefault(f"01_imagebind/{file.stem}", 0.0)
        listed = json.loads(file.read_text())
        with torch.device("meta"):
            model = ImageBind({trunk: {} for trunk in SIZES})
            towers = [ImageBind({trunk: {}}) for trunk in SIZES]
        found = {k: {"shape": list(v.shape), "kind": "buffer"} for k, v in model.state_dict().items()}
        for key, _ in model.named_parameters():
            found[key]["kind"] = "parameter"
        assert found == {k: {"shape": v["shape"], "kind": v["kind"]} for k, v in listed["keys"].items()}
        assert sum(p.numel() for p in model.parameters()) == listed["n_params"]
        assert sorted(key for tower in towers for key in tower.state_dict()) == sorted(found)
        for trunk, (dim, depth, heads) in ((k, v) for k, v in listed["hyper"].items() if k in SIZES):
            sizes = SIZES[trunk]()
            assert (sizes.dim, sizes.depth, sizes.heads, sizes.out_dim) == (dim, depth, heads, listed["hyper"]["out"])
