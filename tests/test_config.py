"""YAML, bases and overrides become a checked Config; every mistake is named at once, in the user's own words."""

from pathlib import Path

import pytest
import yaml
from components import TINY

from anyx import registry
from anyx.config import Config, ConfigError, load, parts
from anyx.data.sources import SOURCES
from anyx.interfaces import Decoder
from anyx.schema import Share
from anyx.templates import TEMPLATES

VISION = {"type": "imagebind"} | next(one for one in TINY["encoders"]["imagebind"] if one["trunk"] == "vision")
DECODER = {"type": "stable_diffusion", "path": "some/pipeline"}
MODEL = {
    "llm": {"path": "some/llm", "lora": {"r": 4, "targets": ["q_proj"]}},
    "encoders": {"vision": VISION},
    "inputs": {"image": {"encoder": "vision", "projector": {"type": "linear"}}},
    "outputs": {"image": {"tokens": 4, "projector": {"type": "transformer"}, "decoder": DECODER}},
    "data": {"captions": {"type": "captions", "path": "./captions.json", "key": "image"}},
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
    assert config.inputs["image"].media == "image"
    assert (config.outputs["image"].tokens, config.seed) == (8, 7)
    stage = config.stages["encode"]
    assert (stage.train, stage.steps, stage.clip) == ({"inputs.*.projector": 4e-4}, 3, None)
    assert config.data["captions"]["path"] == str(tmp_path / "captions.json")


def test_the_resolved_yaml_reads_the_same(config: Config, tmp_path: Path):
    again = load(write(tmp_path / "elsewhere" / "resolved.yaml", yaml.safe_load(config.to_yaml())))
    assert again == config


def names(kind: str) -> str:
    """What is registered, as errors list it."""
    return ", ".join(sorted(registry.table(kind)))


def test_all_errors_come_at_once(tmp_path: Path):
    found = errors(
        tmp_path,
        sede=1,
        llm={"path": "x", "lora": {"rank": 4}, "template": "chatmal", "dtype": "int3"},
        encoders={"vision": VISION | {"depht": 1}, "other": {"type": "clop"}},
        inputs={
            "image": {"encoder": "visoin", "projector": {"type": "linear", "norm": 3, "dim_in": 4}},
            "smell": {"encoder": "vision", "projector": {"type": "linear"}},
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
        f"llm.template: 'chatmal' is not one of {', '.join(TEMPLATES)}",
        "llm.dtype: 'int3' is not one of float32, bfloat16, float16",
        "encoders.vision.depht: Key 'depht' not in 'ImageBindEncoder'. Did you mean: 'depth'?",
        f"encoders.other.type: 'clop' is not one of {names('encoders')}",
        "inputs.image.encoder: 'visoin' is not one of vision, other",
        "inputs.image.projector.norm: must be bool, but 3 was given",
        "inputs.image.projector.dim_in: Key 'dim_in' not in 'LinearInputProjector'.",
        "inputs.smell.media: 'smell' is not one of audio, image, series, video",
        f"inputs.audio.projector: is missing; its type is one of {names('input_projectors')}",
        "stages.encode.losses.txt: 'txt' is not one of text, caption, denoise, align, quantity, contrastive, "
        "reconstruct",
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


def test_only_the_keys_of_a_caption_loss_need_a_teacher(tmp_path: Path):
    mute = {"tokens": 1, "projector": {"type": "linear"}, "decoder": {"type": f"{__name__}:Mute", "size": 3}}
    outputs = MODEL["outputs"] | {"audio": mute}
    stage = MODEL["stages"]["encode"] | {"losses": {"caption": {"keys": ["image"]}, "denoise": {"keys": ["audio"]}}}
    raw = {**MODEL, "outputs": outputs, "stages": {"decode": stage}}
    assert load(write(tmp_path / "a.yaml", raw)).stages["decode"].losses == stage["losses"]
    for keys in ("[audio]", "[image,audio]", "null"):
        (line,) = errors(tmp_path, f"stages.decode.losses.caption.keys={keys}", **raw)
        assert line.startswith("stages.decode.losses.caption: outputs.audio.decoder")


def test_a_loss_fits_a_model_with_an_llm_or_one_without(tmp_path: Path):
    losses = {name: 1 for name in ("text", "caption", "denoise", "align", "reconstruct")}
    losses["contrastive"] = {"pairs": [["image", "caption"]]}
    stages = {"a": MODEL["stages"]["encode"] | {"losses": losses}}
    assert errors(tmp_path, stages=stages) == [
        f"stages.a.losses.{name}: {name!r} is no loss of a model with an LLM; "
        "those are text, caption, denoise, align, quantity"
        for name in ("reconstruct", "contrastive")
    ]
    stages = {"a": stages["a"] | {"train": {"encoders.*": 1}}}
    others = "those are denoise, contrastive, reconstruct"
    assert errors(tmp_path, llm=None, stages=stages) == [
        f"stages.a.losses.{name}: {name!r} is no loss of a model without an LLM; {others}"
        for name in ("text", "caption", "align")
    ]


def test_what_losses_name_is_there(tmp_path: Path):
    stage = MODEL["stages"]["encode"]
    misspelt = {
        "denoise": {"keys": ["imgae"], "weights": {"imag": 3, "image": 2}},
        "caption": {"keys": ["image", "vision"], "weights": {"audio": 40}},
        "align": {"keys": ["eye"]},
    }
    assert errors(
        tmp_path, stages={"a": stage | {"losses": misspelt}, "b": stage | {"losses": {"align": {"keys": []}}}}
    ) == [
        "stages.a.losses.denoise.keys: 'imgae' is not one of image",
        "stages.a.losses.denoise.weights.imag: 'imag' is not one of image",
        "stages.a.losses.caption.keys: 'vision' is not one of image",
        "stages.a.losses.caption.weights.audio: 'audio' is not one of image",
        "stages.a.losses.align.keys: 'eye' is not one of image",
        "stages.b.losses.align.keys: nothing is named",
    ]
    bind = {"pairs": [["image", "text"], ["eye", "caption"], ["image"]], "encoders": {"captoin": "visoin"}}
    stages = {
        "a": stage | {"train": {"encoders.*": 1}, "losses": {"contrastive": bind, "reconstruct": {"keys": ["image"]}}}
    }
    inputs = {"eye": {"encoder": "vision", "media": "image"}}
    assert errors(tmp_path, llm=None, inputs=inputs, outputs={}, stages=stages) == [
        "stages.a.losses.contrastive.pairs: 'image' is not one of eye, caption",
        "stages.a.losses.contrastive.pairs: 'text' is not one of eye, caption",
        "stages.a.losses.contrastive.pairs: must be 2 names, but ['image'] was given",
        "stages.a.losses.contrastive.pairs: 'image' is not one of eye, caption",
        "stages.a.losses.contrastive.encoders.captoin: 'captoin' is not one of eye, caption",
        "stages.a.losses.contrastive.encoders.captoin: 'visoin' is not one of vision",
        "stages.a.losses.reconstruct.keys: 'image' is not one of no outputs",
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
    losses, data = {"contrastive": {"pairs": [["image", "caption"]]}}, {"x": {"path": "x.jsonl", "weight": 2}}
    stage = {"train": {"encoders.*": 1e-3}, "losses": losses, "data": data, "steps": 1}
    config = load(write(tmp_path / "a.yaml", {**backbones, "stages": {"bind": stage}}))
    assert config.llm is None
    assert config.inputs["image"].projector is None
    assert "outputs.image.decoder.vae" in set(parts(config))


def test_what_is_inside_mappings_is_checked(tmp_path: Path):
    stage = MODEL["stages"]["encode"]
    found = errors(
        tmp_path,
        llm={
            "path": "x",
            "lora": {"r": "two", "targets": ["q"], "alpha": -1},
            "template": {"user": {"prefx": "a"}, "joined": {"bos": []}},
        },
        encoders={"vision": VISION | {"trunk": "visoin"}, "json": {"type": "json:JSONDecoder"}},
        outputs={"image": MODEL["outputs"]["image"] | {"tokens": 0}},
        data={"captions": {"type": "jsonl", "pahtt": "x"}, "other": {"type": "jsnol"}, "third": 5, "fourth": {}},
        stages={
            "a": stage | {"train": {"inputs.*.projector": "fast"}, "losses": {"caption": {"kidn": "mse"}}},
            "b": stage | {"train": {}, "losses": {"caption": {"kind": "l3", "weights": {"image": "x"}}}},
            "c": stage | {"losses": 5, "data": {"captions": "heavy"}},
            "d": stage | {"losses": {"text": "x", "contrastive": 1}, "data": {"own": {"type": "jsonl", "path": 5}}},
            "e": stage | {"batch_size": 0, "betas": ["x", 1], "steps": -3},
        },
    )
    assert found == [
        "llm.lora.r: must be int >= 1, but 'two' was given",
        "llm.lora.alpha: must be float >= 0 or null, but -1 was given",
        "llm.template.assistant: is missing; 'template' requires it",
        "llm.template.user.prefx: Key 'prefx' not in 'turn'. Did you mean: 'prefix'?",
        "llm.template.joined.bos: Key 'bos' not in 'joined'.",
        "encoders.vision.trunk: 'visoin' is not one of vision, audio, text, depth, thermal, imu",
        "encoders.json.type: 'json:JSONDecoder': json:JSONDecoder is no Encoder",
        "outputs.image.tokens: must be int >= 1, but 0 was given",
        "data.captions.pahtt: Key 'pahtt' not in 'JSONLSource'. Did you mean: 'path'?",
        "data.captions.path: is missing; 'JSONLSource' requires it",
        f"data.other.type: 'jsnol' is not one of {', '.join(SOURCES)} (or 'module:Class')",
        "data.third: must be a mapping, but 5 was given",
        f"data.fourth.type: None is not one of {', '.join(SOURCES)} (or 'module:Class')",
        "stages.a.train.inputs.*.projector: must be float >= 0, but 'fast' was given",
        "stages.a.losses.caption.kidn: Key 'kidn' not in 'caption'. Did you mean: 'kind'?",
        "stages.b.train: nothing is named",
        "stages.b.losses.caption.kind: 'l3' is not one of l2norm, mse, cosine",
        "stages.b.losses.caption.weights.image: must be float, but 'x' was given",
        "stages.c.losses: must be a mapping, but 5 was given",
        "stages.c.data.captions: must be float, but 'heavy' was given",
        "stages.d.losses.text.weight: must be float, but 'x' was given",
        "stages.d.losses.contrastive.pairs: is missing; 'contrastive' requires it",
        "stages.d.losses.contrastive: 'contrastive' is no loss of a model with an LLM; "
        "those are text, caption, denoise, align, quantity",
        "stages.d.data.own.path: must be str or a path, but 5 was given",
        "stages.e.steps: must be int >= 1 or null, but -3 was given",
        "stages.e.batch_size: must be int >= 1, but 0 was given",
        "stages.e.betas: must be a list of float, but ['x', 1] was given",
    ]


def test_a_key_with_a_dot_is_refused(tmp_path: Path):
    (line,) = errors(tmp_path, inputs={"a.b": MODEL["inputs"]["image"]}, stages={})
    assert line == "inputs.a.b: the key 'a.b' has a dot, which paths are made with; name it otherwise"


def test_a_mistake_is_named_once(tmp_path: Path):
    assert errors(tmp_path, llm={"path": "x", "lora": 5}) == ["llm.lora: must be a mapping or null, but 5 was given"]
    assert errors(tmp_path, inputs={"image": 5}, outputs=7, stages={}) == [
        "outputs: must be a mapping, but 7 was given",
        "inputs.image: must be a mapping, but 5 was given",
    ]


def test_null_gives_lora_its_default_back(tmp_path: Path):
    assert load(write(tmp_path / "a.yaml", MODEL), ["llm.lora.alpha=null"]).llm.lora == {"r": 4, "targets": ["q_proj"]}


def test_a_source_of_another_package_is_left_to_training(tmp_path: Path):
    """A model's folder is loaded where its data are not."""
    config = load(write(tmp_path / "a.yaml", MODEL | {"data": {"captions": {"type": "./mine.py:Source", "x": 1}}}))
    assert config.data["captions"]["x"] == 1
