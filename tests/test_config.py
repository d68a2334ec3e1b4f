"""YAML, bases and overrides become a checked Config; every mistake is named at once, in the user's own words."""

from pathlib import Path

import pytest
import yaml
from components import TINY

from anyx.config import Config, ConfigError, load, parts
from anyx.interfaces import Decoder
from anyx.schema import Share, fits

VISION = {"type": "imagebind"} | next(one for one in TINY["encoders"]["imagebind"] if one["trunk"] == "vision")
DECODER = {"type": "stable_diffusion", "path": "some/pipeline"}
MODEL = {
    "llm": {"path": "some/llm", "lora": {"r": 4, "targets": ["q_proj"]}},
    "encoders": {"vision": VISION},
    "inputs": {"image": {"encoder": "vision", "projector": {"type": "linear"}}},
    "outputs": {"image": {"tokens": 4, "projector": {"type": "transformer"}, "decoder": DECODER}},
    "data": {"captions": {"type": "captions", "path": "./captions.json"}},
    "stages": {
        "encode": {"train": {"inputs.*.projector": 4e-4}, "losses": {"text": 1}, "data": {"captions": 1}, "steps": 3}
    },
}


class Mute(Decoder):
    """A decoder without a text encoder."""

    def __init__(self, *, size: int):
        super().__init__()


def write(path: Path, raw: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def errors(tmp_path: Path, *overrides: str, **sections: object) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(write(tmp_path / "model.yaml", {**MODEL, **sections}), overrides)
    return raised.value.errors


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(write(tmp_path / "model.yaml", MODEL), ["outputs.image.tokens=8", "stages.encode.clip=null", "seed=7"])


def test_a_model_is_read(config: Config, tmp_path: Path):
    assert (config.llm.template, config.llm.dtype, config.llm.lora["r"]) == ("chatml", "float32", 4)
    assert config.encoders["vision"].cls.__name__ == "ImageBindEncoder"
    assert "type" not in config.encoders["vision"].kwargs
    assert (config.inputs["image"].media, config.inputs["image"].into) == ("image", "sequence")
    assert (config.outputs["image"].tokens, config.seed) == (8, 7)
    stage = config.stages["encode"]
    assert (stage.train, stage.steps, stage.clip) == ({"inputs.*.projector": 4e-4}, 3, None)
    assert config.data["captions"]["path"] == str(tmp_path / "captions.json")


def test_the_resolved_yaml_reads_the_same(config: Config, tmp_path: Path):
    again = load(write(tmp_path / "elsewhere" / "resolved.yaml", yaml.safe_load(config.to_yaml())))
    assert again == config


def test_all_errors_come_at_once(tmp_path: Path):
    found = errors(
        tmp_path,
        sede=1,
        llm={"path": "x", "lora": {"rank": 4}, "template": "chatmal", "dtype": "int3"},
        encoders={"vision": VISION | {"depht": 1}, "other": {"type": "clop"}},
        inputs={
            "image": {"encoder": "visoin", "projector": {"type": "linear", "norm": 3, "dim_in": 4}},
            "smell": {"encoder": "vision", "projector": {"type": "linear"}, "into": "layer"},
            "audio": {"encoder": "vision"},
        },
        stages={
            "encode": {"train": {"inputs.*.projectr": 1}, "losses": {"txt": 1}, "data": {"caption": 1}},
            "rest": 5,
        },
    )
    for line in (
        "sede: Key 'sede' not in 'config'. Did you mean: 'seed'?",
        "llm.lora.r: is missing; 'lora' requires it",
        "llm.lora.rank: Key 'rank' not in 'lora'.",
        "llm.template: 'chatmal' is not one of chatml, vicuna_v0, vicuna_v1, plain",
        "llm.dtype: 'int3' is not one of float32, bfloat16, float16",
        "encoders.vision.depht: Key 'depht' not in 'ImageBindEncoder'. Did you mean: 'depth'?",
        "encoders.other.type: 'clop' is not one of clip, efficientnet, imagebind, whisper",
        "inputs.image.encoder: 'visoin' is not one of vision, other",
        "inputs.image.projector.norm: must be bool, but 3 was given",
        "inputs.image.projector.dim_in: Key 'dim_in' not in 'LinearInputProjector'.",
        "inputs.smell.media: 'smell' is not one of image, audio, video",
        "inputs.smell.into: 'layer' is not one of sequence",
        "inputs.audio.projector: is missing; its type is one of linear, mlp, resampler",
        "stages.encode.losses.txt: 'txt' is not one of text, caption, denoise, contrastive, reconstruct, align",
        "stages.encode.data.caption: 'caption' is not one of captions",
        "stages.encode: give either steps or epochs",
        "stages.rest: must be a mapping, but 5 was given",
    ):
        assert line in found
    assert any(
        line.startswith("stages.encode.train: 'inputs.*.projectr' names nothing; the parts are") for line in found
    )


def test_a_caption_loss_needs_a_teacher(tmp_path: Path):
    mute = {"tokens": 1, "projector": {"type": "linear"}, "decoder": {"type": f"{__name__}:Mute", "size": 3}}
    stage = MODEL["stages"]["encode"] | {"losses": {"caption": 1}}
    (line,) = errors(tmp_path, outputs={"image": mute}, stages={"decode": stage})
    assert line.startswith("stages.decode.losses.caption: outputs.image.decoder")
    assert line.endswith("use 'denoise' instead")
    assert errors(tmp_path, outputs={"image": mute | {"decoder": {"type": f"{__name__}:Mute"}}}) == [
        "outputs.image.decoder.size: is missing; 'Mute' requires it"
    ]


def test_projectors_are_shared_by_path(tmp_path: Path):
    video = {"tokens": 4, "decoder": {"type": "video", "path": "x"}, "projector": {"share": "outputs.image.projector"}}
    both = {"image": MODEL["outputs"]["image"], "video": video}
    config = load(write(tmp_path / "a.yaml", {**MODEL, "outputs": both}))
    assert config.outputs["video"].projector == Share("outputs.image.projector")
    assert config.outputs["video"].projector.key == "image"
    assert "outputs.video.projector" not in set(parts(config))
    (line,) = errors(tmp_path, "outputs.video.projector.share=outputs.video.projector", outputs=both)
    assert line == "outputs.video.projector.share: 'outputs.video.projector' is not one of outputs.image.projector"


def test_a_base_is_merged_under(tmp_path: Path):
    write(tmp_path / "base" / "model.yaml", MODEL)
    video = {"encoder": "vision", "projector": {"type": "linear"}}
    inputs = {"image": {"projector": {"type": "mlp", "layers": 3}}, "video": video}
    child = {"base": "../base/model.yaml", "inputs": inputs, "outputs": {"image": None}}
    config = load(write(tmp_path / "child" / "model.yaml", child))
    assert config.inputs["image"].projector.kwargs == {"layers": 3}
    assert list(config.inputs) == ["image", "video"]
    assert not config.outputs
    assert config.data["captions"]["path"] == str(tmp_path / "base" / "captions.json")


def test_a_component_of_another_type_forgets_the_base_keywords(tmp_path: Path):
    write(tmp_path / "base.yaml", MODEL)
    child = {"base": "base.yaml", "encoders": {"vision": {"type": "efficientnet", "size": 64}}}
    assert load(write(tmp_path / "child.yaml", child)).encoders["vision"].kwargs == {"size": 64}


def test_backbones_need_neither_llm_nor_projectors(tmp_path: Path):
    backbones = {"encoders": {"vision": VISION}, "inputs": {"image": {"encoder": "vision"}}}
    backbones["outputs"] = {"image": {"decoder": DECODER}}
    stage = {"train": {"encoders.*": 1e-3}, "losses": {"contrastive": 1}, "data": {"x": {"type": "jsonl"}}, "steps": 1}
    config = load(write(tmp_path / "a.yaml", {**backbones, "stages": {"bind": stage}}))
    assert config.llm is None
    assert config.inputs["image"].projector is None
    assert "outputs.image.decoder.vae" in set(parts(config))


def test_broken_files_and_overrides_are_config_errors(tmp_path: Path):
    (tmp_path / "broken.yaml").write_text("a: [1,")
    (tmp_path / "list.yaml").write_text("- 1")
    for path, words in (("broken.yaml", "no YAML"), ("list.yaml", "is a mapping"), ("none.yaml", "no such file")):
        with pytest.raises(ConfigError, match=words):
            load(tmp_path / path)
    assert errors(tmp_path, "seed") == ["seed: an override is written a.b=c"]
    assert errors(tmp_path, "llm.path=${nowhere}")


def test_values_fit_annotations():
    assert fits(1, float)
    assert fits(None, int | None)
    assert fits([1, 2], tuple[int, ...])
    assert fits({"a": 1}, dict[str, int])
    assert not fits(True, int)
    assert not fits("1", int | None)
