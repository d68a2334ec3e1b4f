"""Parts of input projectors: trained by themselves, and shared among ports, as X-LLM's one Q-Former is."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from components import EVA

from anyx import hub
from anyx.build import build
from anyx.config import ConfigError, check
from anyx.media import Image, Video
from anyx.training.stage import select

SIZES = {"type": "qformer", "queries": 2, "width": 8, "layers": 2, "heads": 2, "norm": True, "dropout": 0.0}
SHARES = {"qformer": "inputs.image.projector", "norm": "inputs.image.projector"}


def raw(folder: str, **video: Any) -> dict[str, Any]:
    clip = SIZES | {"pieces": 3, "shares": SHARES} | video
    return {
        "llm": {"path": folder},
        "encoders": {"eye": {"type": "eva_clip", "config": EVA, "frames": 3, "post_ln": "none"}},
        "inputs": {
            "image": {"encoder": "eye", "projector": SIZES},
            "video": {"encoder": "eye", "projector": clip},
        },
    }


def test_ports_share_what_they_name(tiny_llm_folder: str) -> None:
    model = build(check(raw(tiny_llm_folder)))
    image, video = (model.inputs[key].projector for key in ("image", "video"))
    assert video.qformer is image.qformer
    assert video.norm is image.norm
    assert video.query_tokens is not image.query_tokens
    assert video.proj is not image.proj
    parts = model.parts()
    whole = {id(p) for name in ("image", "video") for p in parts[f"inputs.{name}.projector"]}
    own = [*parts["inputs.video.projector.query_tokens"], *parts["inputs.video.projector.proj"]]
    assert len(whole) == len(parts["inputs.image.projector"]) + len(own)
    assert not [name for name in parts if name.endswith("extra_query_tokens")]  # it has none


def test_a_stage_trains_a_part_by_itself(tiny_llm_folder: str) -> None:
    parts = build(check(raw(tiny_llm_folder))).parts()
    chosen = select(parts, {"inputs.video.projector.query_tokens": 1e-3, "inputs.*.projector.proj": 1e-4})
    assert chosen.globs == {
        "inputs.video.projector.query_tokens": ["inputs.video.projector.query_tokens"],
        "inputs.*.projector.proj": ["inputs.image.projector.proj", "inputs.video.projector.proj"],
    }
    with pytest.raises(ValueError, match="share parameters"):
        select(parts, {"inputs.image.projector": 1e-3, "inputs.video.projector": 1e-4})


def test_a_folder_holds_shared_parts_once(tiny_llm_folder: str, tmp_path: Path) -> None:
    model = build(check(raw(tiny_llm_folder)))
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("inputs."):
                parameter.copy_(torch.randn(parameter.shape, generator=noise))
    hub.save(model, tmp_path)
    again = hub.load(tmp_path)
    assert again.inputs["video"].projector.qformer is again.inputs["image"].projector.qformer
    own, loaded = model.own_state(), again.own_state()
    assert own.keys() == loaded.keys()
    assert all(torch.equal(own[name], loaded[name]) for name in own)
    from safetensors.torch import load_file

    stored = load_file(tmp_path / hub.WEIGHTS)
    assert {name.split(".")[3] for name in stored if name.startswith("inputs.video.")} == {"query_tokens", "proj"}


def test_a_clip_is_read_frame_by_frame(tiny_llm_folder: str) -> None:
    torch.manual_seed(0)
    model = build(check(raw(tiny_llm_folder)))
    frames = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    said = [
        [{"role": "user", "content": [{"type": key, "media": medium}, {"type": "text", "text": "fox"}]}]
        for key, medium in (("video", Video(frames, 1.0)), ("image", Image(frames[1])))
    ]
    batch = model.processor.collate([model.processor(chat, generate=True) for chat in said], generate=True)
    _, tokens = model.read(batch)
    assert tokens["video"].values.shape[1] == 3 * 2
    image = model.inputs["image"].projector
    image.query_tokens, image.proj = (
        getattr(model.inputs["video"].projector, name) for name in ("query_tokens", "proj")
    )
    _, same = model.read(batch)
    torch.testing.assert_close(same["image"].values[0], tokens["video"].values[0, 2:4])


@pytest.mark.parametrize(
    ("video", "told"),
    [
        (
            {"shares": {"former": "inputs.image.projector"}},
            r"shares\.former: 'former' is not one of norm, query",
        ),
        (
            {"shares": {"norm": "inputs.sound.projector"}},
            r"shares\.norm: 'inputs\.sound\.projector' is not one",
        ),
        ({"shares": {"norm": "inputs.video.projector"}}, r"'inputs\.video\.projector' is not one of inputs\.image"),
    ],
)
def test_names_are_checked(tiny_llm_folder: str, video: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check(raw(tiny_llm_folder, **video))


def test_shapes_are_checked(tiny_llm_folder: str) -> None:
    with pytest.raises(ValueError, match=r"shares\.qformer: the two parts are not of the same shapes"):
        build(check(raw(tiny_llm_folder, width=16)))


def test_a_projector_without_parts_has_none() -> None:
    assert tiny.TinyInputProjector(2, 3).parts == ()
