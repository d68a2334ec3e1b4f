"""What a stage does not need is not read: weights that are spoilt after the features are kept are never missed.

Encoders and decoders are known by their files. The cache is told that spoilt files are those it knew, so that whoever
read them would learn something else.
"""

import json
import os
from pathlib import Path
from typing import Any

import components
import pytest
import torch
from safetensors.torch import load_file, save_file

from anyx import config as configs
from anyx.build import build
from anyx.data.cache import FeatureCache, media_digest, stamp_of
from anyx.decoders import StableDiffusionDecoder
from anyx.encoders.vit import ViTEncoder
from anyx.media import Image
from anyx.model import AnyX
from anyx.training import checkpoint, run

TEXT = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
EYE = {"width": 16, "layers": 2, "heads": 2, "hidden": 24, "patch": 8, "size": 16}


@pytest.fixture
def raw(tmp_path: Path, tiny_llm_folder: str) -> dict[str, Any]:
    """An encoder and a decoder in folders, and stages that need what they say of a few pictures and captions."""
    torch.manual_seed(3)
    (tmp_path / "eye").mkdir()
    save_file(ViTEncoder(**EYE).state_dict(), tmp_path / "eye" / "model.safetensors")
    given = components.TINY["decoders"]["stable_diffusion"][0]
    StableDiffusionDecoder(**given, text=TEXT, tokenizer={"words": ["fox", "cow"], "length": 5}).save(tmp_path / "draw")
    lines = []
    for index in range(6):
        Image(torch.full((3, 16, 16), 40 * index, dtype=torch.uint8)).save(tmp_path / f"{index}.png")
        part = {"type": "image", "path": f"{index}.png", "caption": "fox cow" if index % 2 else "cow"}
        ask: Any = [part, {"type": "text", "text": "What?"}] if index % 2 else "Draw a red fox"
        answer: Any = "A fox." if index % 2 else [part]
        lines.append({"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]})
    (tmp_path / "chat.jsonl").write_text("\n".join(map(json.dumps, lines)))
    both = {"data": {"chat": 1}, "batch_size": 3, "steps": 2, "precision": "fp32"}
    return {
        "llm": {"path": tiny_llm_folder},
        "encoders": {"eye": {"type": "vit", "path": str(tmp_path / "eye"), **EYE}},
        "inputs": {"image": {"encoder": "eye", "projector": {"type": "linear"}}},
        "outputs": {
            "image": {
                "tokens": 2,
                "projector": {"type": "transformer", "hidden": 8, "layers": 1, "heads": 2},
                "decoder": {"type": "stable_diffusion", "path": str(tmp_path / "draw")},
            }
        },
        "data": {"chat": {"type": "jsonl", "path": str(tmp_path / "chat.jsonl")}},
        "stages": {
            "encode": {"train": {"inputs.*.projector": 1e-2}, "losses": {"text": 1}, **both},
            "decode": {"train": {"outputs.*.projector": 1e-2}, "losses": {"text": 1, "caption": 1}, **both},
        },
    }


def train(raw: dict[str, Any], out: Path, **given: Any) -> Path:
    return run.train(configs.check(raw), out=out, cache=out.parent / "features", device="cpu", **given)


def learnt(out: Path) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for stage in ("encode", "decode")
        if (out / stage).exists()
        for name, tensor in load_file(out / stage / checkpoint.FINAL).items()
    }


def spoil(*folders: Path, known: Path | None = None) -> None:
    """Zeros for all numbers; the cache `known` is told that nothing has changed."""
    for file in (file for folder in folders for file in folder.rglob("*.safetensors")):
        before, data = media_digest(file), file.read_bytes()
        header = 8 + int.from_bytes(data[:8], "little")
        file.write_bytes(data[:header] + bytes(len(data) - header))
        if known is not None:
            noted = {os.path.abspath(file): (stamp_of(file), before)}
            FeatureCache(known).ask(lambda index, noted=noted: index.note(noted))


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_is_kept_needs_no_weights(raw: dict[str, Any], tmp_path: Path) -> None:
    first = learnt(train(raw, tmp_path / "first"))
    spoil(tmp_path / "eye", tmp_path / "draw", known=tmp_path / "features")
    assert same(first, learnt(train(raw, tmp_path / "second")))


def test_captions_need_the_text_encoder_alone(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["stages"].pop("encode")
    first = learnt(train(raw, tmp_path / "a" / "first"))
    spoil(tmp_path / "draw" / "unet", tmp_path / "draw" / "vae")
    assert same(first, learnt(train(raw, tmp_path / "b" / "second")))  # its features are its own
    spoil(tmp_path / "draw")
    assert not same(first, learnt(train(raw, tmp_path / "c" / "third")))


def test_files_that_changed_are_other_weights(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["stages"].pop("decode")
    first = learnt(train(raw, tmp_path / "first"))
    torch.manual_seed(9)
    save_file(ViTEncoder(**EYE).state_dict(), tmp_path / "eye" / "model.safetensors")
    assert not same(first, learnt(train(raw, tmp_path / "second")))


def test_a_model_brings_what_it_needs(raw: dict[str, Any], tmp_path: Path) -> None:
    """Its encoder to read, its decoder to show; both then hold what an eager one holds."""
    torch.manual_seed(0)
    lazy = build(configs.check(raw), lazy=True)
    torch.manual_seed(0)
    eager = build(configs.check(raw))
    assert list(lazy.encoders) == []
    assert not any(name.startswith(("encoders.", "outputs.image.decoder.")) for name, _ in lazy.named_parameters())
    assert lazy.parts().keys() == eager.parts().keys()
    assert same(lazy.own_state(), eager.own_state())
    question = [{"type": "image", "path": str(tmp_path / "1.png")}, {"type": "text", "text": "What?"}]
    replies = [model.chat([{"role": "user", "content": question}], max_new_tokens=3) for model in (lazy, eager)]
    assert replies[0].text == replies[1].text
    assert list(lazy.encoders) == ["eye"]
    assert lazy.outputs["image"].waiting is not None
    assert lazy.outputs["image"].decoder is not None
    assert same(lazy.state_dict(), eager.state_dict())
    assert not any(parameter.requires_grad for parameter in lazy.outputs["image"].decoder.parameters())


def test_what_learns_is_brought_and_known_by_its_weights(raw: dict[str, Any], tmp_path: Path) -> None:
    """A stage after one that trained the encoder keeps other features than its files would give."""
    stages = raw["stages"]
    tuned = {"tune": stages["encode"] | {"train": {"encoders.eye": 1e-2}}, "encode": stages["encode"]}
    raw["stages"] = tuned
    out = train(raw, tmp_path / "out")
    assert AnyX.from_pretrained(str(out)).learnt == ("encoders.eye",)
    tuned["encode"] = tuned["encode"] | {"cache": False}
    online = train(raw, tmp_path / "online")
    assert same(learnt(out), learnt(online))


def test_a_stage_s_init_brings_what_it_holds(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["stages"] = {"tune": raw["stages"]["encode"] | {"train": {"encoders.eye": 1e-2}}}
    tuned = train(raw, tmp_path / "tuned") / "tune"
    raw["stages"] = {"encode": {**raw["stages"]["tune"], "train": {"inputs.*.projector": 1e-2}, "init": str(tuned)}}
    kept = AnyX.from_pretrained(str(train(raw, tmp_path / "out")))
    wanted = load_file(tuned / checkpoint.FINAL)
    assert wanted
    assert same(wanted, {name: x for name, x in kept.state_dict().items() if name in wanted})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_from_the_cache_is_training_without(raw: dict[str, Any], tmp_path: Path, precision: str) -> None:
    """Final weights are equal to the last bit; features are those that an encoder gives in the stage's precision."""
    raw["stages"] = {"encode": raw["stages"]["encode"] | {"precision": precision, "steps": 4}}
    found = []
    for cache in (True, False):
        raw["stages"]["encode"]["cache"] = cache
        found.append(learnt(train(raw, tmp_path / str(cache))))
    assert same(*found)


def test_dtypes_are_shared_by_stages_of_any_precision(raw: dict[str, Any], tmp_path: Path) -> None:
    """Rounded features of half the size, computed once."""
    raw["stages"] = {
        name: raw["stages"]["encode"] | {"precision": precision, "cache": "bfloat16"}
        for name, precision in (("encode", "fp32"), ("decode", "bf16"))
    }
    train(raw, tmp_path / "out")
    (shard,) = (tmp_path / "features").glob("*.safetensors")
    kept = [x.dtype for name, x in load_file(shard).items() if name.endswith("/values")]
    assert kept == [torch.bfloat16] * 3
    raw["stages"]["encode"]["cache"] = "float8"
    with pytest.raises(ValueError, match=r"stages\.encode\.cache"):
        configs.check(raw)


def test_projectors_that_nothing_asks_wait(raw: dict[str, Any], tmp_path: Path) -> None:
    """They are drawn when they learn or are saved, as they would have been at once."""
    config = configs.check(raw)
    torch.manual_seed(5)
    whole = build(config)
    torch.manual_seed(5)
    late = build(config, lazy=True)
    assert not [name for name, _ in late.named_parameters() if name.startswith("outputs.")]
    assert {name: sum(p.numel() for p in own) for name, own in late.parts().items()} == {
        name: sum(p.numel() for p in own) for name, own in whole.parts().items()
    }
    for name, tensor in whole.own_state().items():
        assert torch.equal(late.own_state()[name], tensor), name
    folder = run.train(config, out=tmp_path / "out", stages=["encode"], cache=tmp_path / "cache", device="cpu")
    saved = load_file(folder / "model.safetensors")
    assert any(name.startswith("outputs.image.projector") for name in saved)
