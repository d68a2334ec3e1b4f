"""A YAML becomes a model whose parts fit; equal encoders are one, shared projectors are one, meta reads no weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from components import TINY

from anyx import Image
from anyx.build import build
from anyx.config import Config, load
from anyx.model import AnyX

VISION = {"type": "imagebind"} | next(one for one in TINY["encoders"]["imagebind"] if one["trunk"] == "vision")
DECODER = {"type": "stable_diffusion"} | TINY["decoders"]["stable_diffusion"][0]
LINEAR = {"type": "linear"}


def raw_model(llm: str) -> dict[str, Any]:
    """A small model of every kind of wiring."""
    shared = {"share": "outputs.image.projector"}
    return {
        "llm": {"path": llm, "lora": {"r": 2, "targets": ["q_proj"]}},
        "encoders": {"vision": VISION, "twin": dict(VISION)},
        "inputs": {
            "image": {"encoder": "vision", "projector": LINEAR},
            "photo": {"encoder": "twin", "projector": {"type": "mlp", "tokens": 2}, "media": "image"},
            "sketch": {"encoder": "twin", "projector": {"share": "inputs.photo.projector"}, "media": "image"},
        },
        "outputs": {
            "image": {"tokens": 2, "projector": LINEAR, "decoder": DECODER},
            "photo": {"tokens": 3, "projector": shared, "decoder": DECODER, "media": "image"},
        },
    }


def configure(path: Path, raw: dict[str, Any], *overrides: str) -> Config:
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return load(path, overrides)


@pytest.fixture
def config(tmp_path: Path, tiny_llm_folder: str) -> Config:
    return configure(tmp_path / "model.yaml", raw_model(tiny_llm_folder))


def test_parts_are_wired_and_shared(config: Config):
    model = build(config)
    assert isinstance(model, AnyX)
    assert model.config is config
    assert model.encoders["vision"] is model.encoders["twin"]
    assert model.outputs["image"].projector is model.outputs["photo"].projector
    assert model.inputs["photo"].projector is model.inputs["sketch"].projector
    assert model.outputs["image"].decoder is not model.outputs["photo"].decoder
    assert {key: len(port.ids) for key, port in model.outputs.items()} == {"image": 2, "photo": 3}
    assert model.inputs["photo"].kind is Image
    names = set(model.parts())
    assert {"llm.lora", "llm.signal_tokens", "encoders.vision", "inputs.image.projector"} <= names
    assert "outputs.photo.decoder.denoiser" in names


def test_a_picture_s_projector_serves_what_moves(tmp_path: Path, tiny_llm_folder: str):
    """AnimateDiff lives in Stable Diffusion's space: one projector, two decoders."""
    raw = raw_model(tiny_llm_folder)
    moving = {"type": "animatediff"} | TINY["decoders"]["animatediff"][0]
    shared = {"share": "outputs.image.projector"}
    raw["outputs"] = {
        "image": raw["outputs"]["image"],
        "video": {"tokens": 2, "projector": shared, "decoder": moving},
    }
    model = build(configure(tmp_path / "model.yaml", raw), meta=True)
    assert model.outputs["image"].projector is model.outputs["video"].projector
    assert "outputs.video.decoder.motion" in model.parts()


def test_it_reads_and_answers(config: Config):
    model = build(config)
    picture = Image(torch.randint(0, 255, (3, 16, 16), dtype=torch.uint8))
    message = [{"role": "user", "content": [{"type": "photo", "media": picture}, {"type": "text", "text": "What?"}]}]
    assert (
        model.chat(message, max_new_tokens=4, decode={"image": {"steps": 1}, "photo": {"steps": 1}}).parts is not None
    )


def test_meta_has_shapes_only(config: Config):
    real, plan = build(config).parts(), build(config, meta=True).parts()
    count = {name: sum(parameter.numel() for parameter in parameters) for name, parameters in real.items()}
    assert {name: sum(parameter.numel() for parameter in parameters) for name, parameters in plan.items()} == count
    assert all(parameter.is_meta for parameters in plan.values() for parameter in parameters)


def test_encoders_and_decoders_may_be_left_out(config: Config):
    model = build(config, encoders=False, decoders=False)
    assert not model.encoders
    assert all(port.decoder is None for port in model.outputs.values())
    own = build(config).own_state()
    assert {name: tensor.shape for name, tensor in model.own_state().items()} == {n: t.shape for n, t in own.items()}


def test_what_a_component_refuses_is_said_with_its_path(tmp_path: Path, tiny_llm_folder: str):
    raw = raw_model(tiny_llm_folder)
    bad = configure(tmp_path / "a.yaml", raw, "encoders.vision.path=/nowhere/weights.pth")
    with pytest.raises(ValueError, match=r"^encoders\.vision: .*nowhere"):
        build(bad)
    with pytest.raises(ValueError, match=r"^llm: "):
        build(configure(tmp_path / "b.yaml", raw, "llm.path=/nowhere/llm"))
    del raw["llm"], raw["inputs"], raw["outputs"]
    with pytest.raises(ValueError, match=r"^llm: is missing"):
        build(configure(tmp_path / "c.yaml", raw))


def test_keywords_inside_keywords_and_broken_weights_are_said_with_their_path(tmp_path: Path, tiny_llm_folder: str):
    raw = raw_model(tiny_llm_folder)
    sound = {"type": "audioldm", "vocoder": {"rates": 8000}} | TINY["decoders"]["audioldm"][0]
    raw["outputs"] = {"audio": {"tokens": 1, "projector": LINEAR, "decoder": sound}}
    with pytest.raises(ValueError, match=r"^outputs\.audio\.decoder: .*rates"):
        build(configure(tmp_path / "a.yaml", raw))
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    with pytest.raises(ValueError, match=r"^encoders\.vision: "):
        build(
            configure(
                tmp_path / "b.yaml", raw_model(tiny_llm_folder), f"encoders.vision.path={tmp_path}/cut.safetensors"
            )
        )


def test_a_shared_projector_must_fit(tmp_path: Path, tiny_llm_folder: str):
    raw = raw_model(tiny_llm_folder)
    raw["outputs"]["photo"]["decoder"] = {"type": "audioldm"} | TINY["decoders"]["audioldm"][0]
    raw["outputs"]["photo"]["media"] = "audio"
    with pytest.raises(ValueError, match=r"^outputs\.photo\.projector\.share: its decoder reads"):
        build(configure(tmp_path / "a.yaml", raw))
    raw = raw_model(tiny_llm_folder)
    raw["encoders"]["twin"] = VISION | {"out_dim": 20}
    raw["inputs"]["photo"]["encoder"] = "vision"
    with pytest.raises(ValueError, match=r"^inputs\.sketch\.projector\.share: its encoder says 20, but inputs\.photo"):
        build(configure(tmp_path / "b.yaml", raw))
