"""BLIP-2's and InstructBLIP's files in LAVIS' layout -> a model folder -> the same file; what it answers; true sizes.

What a folder answers is held against transformers' whole model of the same weights, picture to words.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import lavis_files as lavis
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from anyx import AnyX
from anyx.converters.blip2 import BLIP2, InstructBLIP
from anyx.converters.keys import KeysError, best
from anyx.converters.systems import check_sizes, convert, converter, export
from anyx.media import Image

PROJ = {"blip2": "opt_proj", "instructblip": "llm_proj"}
VALUES = ["llm.dtype=float32", lavis.HEADS.format("image")]
WORDS = {"layers": 3, "width": 12, "hidden": 20, "rows": 11, "places": 16}


@pytest.fixture(scope="module", params=["blip2", "instructblip"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def theirs(kind: str) -> Any:
    torch.manual_seed(0)
    return lavis.whole(kind)


@pytest.fixture(scope="module")
def bases(kind: str, theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = lavis.write_bases(tmp_path_factory.mktemp("bases"), theirs)
    return found if kind == "instructblip" else {name: found[name] for name in ("llm", "eva")}


def made(kind: str, bases: dict[str, str], file: Path) -> Path:
    """The folder of a small file."""
    return convert(kind, file, file.parent / "out", bases=bases, overrides=VALUES, any_size=True).path


def equal(found: dict[str, Tensor], state: dict[str, Tensor]) -> bool:
    return found.keys() == state.keys() and all(
        torch.equal(found[name], x) and found[name].dtype == x.dtype for name, x in state.items()
    )


def saved(state: dict[str, Tensor], file: Path) -> Path:
    """As a training saves it."""
    torch.save({"model": state, "optimizer": {"state": {}}, "epoch": 4}, file)
    return file


@torch.no_grad()
def assert_answers(folder: Path, theirs: Any, kind: str, bases: dict[str, str]) -> None:
    """Equal logits for a picture and a question."""
    ours = AnyX.from_pretrained(folder).eval()
    picture, question = Image(torch.randint(0, 256, (3, 40, 31), dtype=torch.uint8)), "what is this?"
    chat = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": question}]}]
    batch = ours.processor.collate([ours.processor(chat, generate=True)], generate=True)
    spliced, _ = ours.read(batch)
    logits = ours.llm.logits(ours.llm.states(spliced.embeddings, spliced.mask))
    ids = batch.ids[0][batch.ids[0] >= 0]
    ids = torch.cat([torch.full((lavis.QUERIES,), lavis.ROWS - 1), ids])[None]
    asked: dict[str, Tensor] = {"pixel_values": batch.inputs["image"].tensors["pixels"], "input_ids": ids}
    if kind == "instructblip":
        text = batch.inputs["image"].text
        assert text is not None
        asked |= {"qformer_input_ids": text.ids, "qformer_attention_mask": text.mask.long()}
    wanted = theirs(**asked, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(logits, wanted[..., : logits.shape[-1]], atol=1e-4, rtol=1e-4)
    blind = theirs(**asked | {"pixel_values": asked["pixel_values"] * 0}, attention_mask=torch.ones_like(ids)).logits
    assert not torch.allclose(blind, wanted, atol=1e-3)


@pytest.mark.parametrize("norm", [True, False])
def test_a_fine_tune_there_and_back(
    kind: str, theirs: Any, bases: dict[str, str], tmp_path: Path, norm: bool, caplog: pytest.LogCaptureFixture
) -> None:
    state = lavis.trainables(theirs, PROJ[kind], norm=norm)
    file = saved(state, tmp_path / "checkpoint_4.pth")
    with caplog.at_level(logging.WARNING):
        out = made(kind, bases, file)
    assert "unread.safetensors: 1 tensors, 16 numbers, which no part of the model reads" in caplog.text
    assert_answers(out, theirs, kind, bases)
    export(kind, out, tmp_path / "back.pth")
    assert equal(torch.load(tmp_path / "back.pth", weights_only=True), state)
    export(kind, out, tmp_path / "half.pth", dtype=torch.float16)
    half = torch.load(tmp_path / "half.pth", weights_only=True)
    assert half["query_tokens"].dtype == torch.float16
    assert half["Qformer.bert.embeddings.position_ids"].dtype == torch.int64


def test_a_tower_that_was_trained_there_and_back(kind: str, theirs: Any, bases: dict[str, str], tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = lavis.whole(kind)  # another tower than that of the base
    other.language_model.load_state_dict(theirs.language_model.state_dict())
    with torch.no_grad():
        for layer in other.vision_model.encoder.layers:
            layer.self_attn.qkv.bias[16:32] = 0  # keys have none
    state = lavis.trainables(other, PROJ[kind]) | lavis.tower(other)
    out = made(kind, bases, saved(state, tmp_path / "caption.pth"))
    assert (out / "vision" / "model.safetensors").is_file()
    assert_answers(out, other, kind, bases)
    export(kind, out, tmp_path / "back.pth")
    assert equal(torch.load(tmp_path / "back.pth", weights_only=True), state)


def test_what_the_first_stage_left_is_kept(
    kind: str, theirs: Any, bases: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = lavis.trainables(theirs, PROJ[kind])
    left = {name: x for name, x in lavis.first_stage(**WORDS).items() if name not in own}
    assert any(".cls." in name for name in left)
    assert any("word_embeddings" in name for name in left) == (kind == "blip2")
    state = own | left
    with caplog.at_level(logging.WARNING):
        out = made(kind, bases, saved(state, tmp_path / "all.pth"))
    numbers = 16 + sum(x.numel() for x in left.values())
    assert f"{1 + len(left)} tensors, {numbers:,} numbers, which no part of the model reads" in caplog.text
    assert_answers(out, theirs, kind, bases)
    export(kind, out, tmp_path / "back.pth")
    assert equal(torch.load(tmp_path / "back.pth", weights_only=True), state)


@pytest.mark.parametrize(
    ("name", "told"), [("unknown", "itm_head.weight"), ("missing", "Qformer.bert.encoder.layer.2.cross")]
)
def test_keys_that_do_not_fit_are_named(
    kind: str, theirs: Any, bases: dict[str, str], tmp_path: Path, name: str, told: str
) -> None:
    state = lavis.trainables(theirs, PROJ[kind])
    if name == "unknown":
        state["itm_head.weight"] = torch.zeros(2, 12)
    else:
        del state["Qformer.bert.encoder.layer.2.crossattention.self.key.weight"]
    with pytest.raises(KeysError, match=rf"{name} \(1\): {told}"):
        made(kind, bases, saved(state, tmp_path / "x.pth"))
    assert not (tmp_path / "out").exists()


def test_refusals(kind: str, theirs: Any, bases: dict[str, str], tmp_path: Path) -> None:
    state = lavis.trainables(theirs, PROJ[kind])
    places = "Qformer.bert.embeddings.position_ids"
    cases: list[tuple[dict[str, Tensor], str]] = [
        (lavis.trainables(theirs, "t5_proj"), "t5_proj: this .* speaks through Flan-T5"),
        (
            {n: x for n, x in state.items() if not n.startswith(PROJ[kind])},
            r"missing \(2\): .*_proj.weight, .*_proj.bias",
        ),
        (state | {places: state[places].flip(1)}, f"{places} does not count from 0"),
        (state | {"query_tokens": torch.zeros(1, 3, 13)}, r"misshaped \(1\): query_tokens is 1 x 3 x 13 instead of"),
        (state | {"Qformer.bert.encoder.layer.1.crossattention.self.key.bias": torch.zeros(12)}, r"unknown \(1\)"),
        (
            {n: x for n, x in {**state, **lavis.tower(theirs)}.items() if not n.startswith("ln_vision")},
            r"visual_encoder.\* is there, but no ln_vision",
        ),
        (state | {f"ln_vision.{leaf}": torch.ones(15) for leaf in ("weight", "bias")}, "the norm is 15 wide"),
    ]
    for number, (wrong, told) in enumerate(cases):
        with pytest.raises(ValueError, match=told):
            made(kind, bases, saved(wrong, tmp_path / f"{number}.pth"))
    with pytest.raises(ValueError, match="not of the published sizes"):
        convert(kind, saved(state, tmp_path / "x.pth"), tmp_path / "out", bases=bases)
    assert not (tmp_path / "out").exists()


def test_a_bias_of_keys_is_left_out_and_changes_nothing(
    kind: str, theirs: Any, bases: dict[str, str], tmp_path: Path
) -> None:
    state = lavis.trainables(theirs, PROJ[kind]) | lavis.tower(theirs)
    half = {name: x.half() if name.startswith("visual_encoder") else x for name, x in state.items()}
    out = made(kind, bases, saved(half, tmp_path / "half.pth"))
    body = load_file(out / "vision" / "model.safetensors")
    for name in [name for name in body if name.endswith("qkv.bias")]:
        body[name][16:32] = 1  # as a training may move it
    save_file(body, out / "vision" / "model.safetensors", metadata={"format": "pt"})
    export(kind, out, tmp_path / "back.pth")
    assert equal(torch.load(tmp_path / "back.pth", weights_only=True), half)
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        moved = copy.deepcopy(theirs.vision_model)
        before = moved(pixel_values=pixels).last_hidden_state
        for layer in moved.encoder.layers:
            layer.self_attn.qkv.bias[16:32] += 1
        torch.testing.assert_close(moved(pixel_values=pixels).last_hidden_state, before)


COUNTS = {"blip2": 105_137_664 + 32 * 768 + 769 * 2560, "instructblip": 185_660_160 + 32 * 768 + 769 * 4096}


def test_the_true_files_are_known(kind: str) -> None:
    with torch.device("meta"):
        true = lavis.whole(kind, true=True)
        state = lavis.trainables(true, PROJ[kind])
    numbers = sum(x.numel() for x in state.values())
    assert numbers == COUNTS[kind] + 2 * 1408 + 512
    system = BLIP2() if kind == "blip2" else InstructBLIP()
    layout, match = best(system.layouts, {name: tuple(x.shape) for name, x in state.items()}, "x")
    assert (layout, match.faults) == (PROJ[kind], 0)
    check_sizes("x", system, match.sizes)
    assert not {"block", "places"} & match.sizes.keys()
    eye = {name: tuple(x.shape) for name, x in lavis.tower(true).items()}
    shapes = {name: tuple(x.shape) for name, x in state.items()} | eye
    assert sum(torch.Size(shape).numel() for shape in eye.values()) == 985_952_256 - 2 * 1408 - 39 * 1408
    _, match = best(system.layouts, shapes, "x")
    assert match.sizes["places"] == 257
    check_sizes("x", system, match.sizes)
    wide = {name: (5120, *shape[1:]) if name.startswith(PROJ[kind]) else shape for name, shape in shapes.items()}
    check_sizes("x", system, best(system.layouts, wide, "x")[1].sizes)
    narrow = {name: (1024, *shape[1:]) if name.startswith(PROJ[kind]) else shape for name, shape in shapes.items()}
    with pytest.raises(ValueError, match="llm 1024 instead of"):
        check_sizes("x", system, best(system.layouts, narrow, "x")[1].sizes)


def test_a_base_that_is_lacking_is_named(kind: str, tmp_path: Path) -> None:
    wanted = "llm and eva and bert missing" if kind == "instructblip" else "llm and eva missing"
    with pytest.raises(ValueError, match=wanted):
        convert(kind, "x.pth", tmp_path / "out", bases={})
    assert converter(kind, {}).notes
