"""LLaVA's checkpoints in every spelling -> a model folder -> the same file; true sizes on `meta`.

The names are those of transformers' own LLaVA models, in memory and as they save them; the original spelling is made
of these by the facts of its sheet (1.1, 1.2). What the folder answers is held against the transformers model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from llava_models import model, write_bases
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    PreTrainedModel,
)

from anyx import AnyX
from anyx.converters.keys import KeysError, best
from anyx.converters.llava import LLaVA
from anyx.converters.systems import check_sizes, convert, export
from anyx.media import Image

CLIP_336 = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
CLIP_336 |= {"image_size": 336, "patch_size": 14, "model_type": "clip_vision_model"}
VICUNA = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
VICUNA |= {"num_attention_heads": 32, "vocab_size": 32064}
MISTRAL = VICUNA | {"model_type": "mistral", "intermediate_size": 14336, "num_key_value_heads": 8}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_bases(tmp_path_factory.mktemp("bases"))


ORIGINAL = {  # facts of the sheet: transformers' names in memory -> the original's
    "model.language_model.": "model.",
    "model.vision_tower.": "model.vision_tower.vision_tower.vision_model.",
    "model.multi_modal_projector.linear_1": "model.mm_projector.0",
    "model.multi_modal_projector.linear_2": "model.mm_projector.2",
}
BEFORE_5 = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.vision_tower.": "vision_tower.vision_model.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "model.image_newline": "image_newline",
}


def renamed(name: str, table: dict[str, str]) -> str:
    return next((new + name.removeprefix(old) for old, new in table.items() if name.startswith(old)), name)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("text", [VICUNA, MISTRAL], ids=["vicuna", "mistral"])
@pytest.mark.parametrize("names", [{}, ORIGINAL, BEFORE_5], ids=["memory", "original", "before 5"])
def test_the_true_files_are_known(names: dict[str, str], text: dict[str, Any], lines: bool) -> None:
    given = {"vision_config": CLIP_336, "text_config": text}
    with torch.device("meta"):
        cls: Any = LlavaNextForConditionalGeneration if lines else LlavaForConditionalGeneration
        found = cls((LlavaNextConfig if lines else LlavaConfig)(**given)).state_dict()
    shapes = {renamed(name, names): tuple(x.shape) for name, x in found.items()}
    made = LLaVA()
    layout, match = best(made.layouts, shapes, "x")
    assert layout.endswith("lines, tower")
    assert ("no lines" in layout) != lines
    check_sizes("x", made, match.sizes)
    frozen = {name: shape for name, shape in shapes.items() if "vision" not in name}
    assert best(made.layouts, frozen, "x")[0] == layout.removesuffix(", tower")
    with pytest.raises(KeysError, match="missing"):
        best(made.layouts, dict(list(shapes.items())[:-1]), "x")


@pytest.mark.parametrize("tower", [True, False])
@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("spelling", ["memory", "original", "saved"])
def test_a_small_one_there_and_back(
    bases: dict[str, str], tmp_path: Path, spelling: str, lines: bool, tower: bool
) -> None:
    theirs = model(lines)
    if not tower:  # the checkpoint's tower is the base's
        theirs.model.vision_tower.load_state_dict(load_file(Path(bases["vision"], "model.safetensors")))
    theirs.save_pretrained(tmp_path / "in")
    file = tmp_path / "in" / "model.safetensors"
    state = load_file(file) if spelling == "saved" else dict(theirs.state_dict())
    state = {renamed(name, ORIGINAL) if spelling == "original" else name: x.clone() for name, x in state.items()}
    state = {name: x for name, x in state.items() if tower or "vision_tower" not in name}
    save_file(state, file, metadata={"format": "pt"})
    if spelling == "original":
        told = {"image_grid_pinpoints": [[28, 56], [56, 28]], "mm_vision_select_layer": -2}
        (tmp_path / "in" / "config.json").write_text(json.dumps(told))
    out = convert("llava", tmp_path / "in", tmp_path / "out", bases=bases, any_size=True).path
    ours = AnyX.from_pretrained(out)
    ids = torch.randint(3, 300, (2, 7))
    with torch.no_grad():
        states = ours.llm.states(ours.llm.embed(ids), torch.ones_like(ids, dtype=torch.bool))
        torch.testing.assert_close(ours.llm.logits(states), theirs(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
        pixels = torch.randn(2, 3, 28, 28)
        wanted = theirs.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        torch.testing.assert_close(ours.encoders["vision"]({"pixels": pixels}).values, wanted)
    if lines:
        assert ours.config is not None
        grids = ours.config.encoders["vision"].kwargs["grids"]
        assert grids == ([[28, 56], [56, 28]] if spelling == "original" else [[56, 28], [28, 56], [56, 56]])
    picture = Image(torch.randint(0, 255, (3, 30, 50), dtype=torch.uint8))
    content = [{"type": "image", "media": picture}, {"type": "text", "text": "What?"}]
    assert ours.chat([{"role": "user", "content": content}], max_new_tokens=3).keys in (["text"], [])
    export("llava", out, tmp_path / "back.safetensors")
    found = load_file(tmp_path / "back.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], x) for name, x in state.items())


def lora_run(theirs: PreTrainedModel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a LoRA run leaves: the adapter, and what else it trained."""
    adapter = {}
    for name, x in theirs.model.language_model.named_parameters():
        if "_proj" in name:
            stem = f"base_model.model.model.{name.removesuffix('.weight')}.lora_"
            adapter[f"{stem}A.weight"] = torch.randn(4, x.shape[1])
            adapter[f"{stem}B.weight"] = torch.randn(x.shape[0], 4)
    kept = {name: x for name, x in theirs.state_dict().items() if "projector" in name or "newline" in name}
    return adapter, {f"base_model.model.{renamed(name, ORIGINAL)}": x for name, x in kept.items()}


@pytest.mark.parametrize("lines", [False, True])
def test_a_lora_run_and_the_first_stage_s_file(bases: dict[str, str], tmp_path: Path, lines: bool) -> None:
    adapter, beside = lora_run(model(lines))
    (tmp_path / "in").mkdir()
    save_file(adapter, tmp_path / "in" / "adapter_model.safetensors")
    torch.save(beside, tmp_path / "in" / "non_lora_trainables.bin")
    (tmp_path / "in" / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 12}))
    values = ["encoders.vision.grids=[[56,28]]"] if lines else []
    out = convert("llava", tmp_path / "in", tmp_path / "out", bases=bases, any_size=True, overrides=values).path
    ours = AnyX.from_pretrained(out)
    assert ours.llm.lora is not None
    assert (ours.llm.lora["r"], ours.llm.lora["alpha"]) == (4, 12)
    export("llava", out, tmp_path / "back.bin")
    found = torch.load(tmp_path / "back.bin", weights_only=True)
    assert found.keys() == adapter.keys() | beside.keys()
    assert all(torch.equal(found[name], x) for name, x in (adapter | beside).items())
    first = {name.removeprefix("base_model.model."): x for name, x in beside.items()}
    torch.save(first, tmp_path / "mm_projector.bin")
    values += ["inputs.image.projector.layers=2"]
    convert("llava", tmp_path / "mm_projector.bin", tmp_path / "one", bases=bases, any_size=True, overrides=values)
    assert AnyX.from_pretrained(tmp_path / "one").own_state().keys() < ours.own_state().keys()


def test_a_shard_and_its_index(bases: dict[str, str], tmp_path: Path) -> None:
    theirs = model(False)
    theirs.save_pretrained(tmp_path / "in", max_shard_size="20KB")
    assert len(list((tmp_path / "in").glob("model-*.safetensors"))) > 2
    convert("llava", tmp_path / "in", tmp_path / "out", bases=bases, any_size=True)
    export("llava", tmp_path / "out", tmp_path / "back.safetensors")
    assert len(load_file(tmp_path / "back.safetensors")) == len(theirs.state_dict())


def test_a_checkpoint_s_own_form_of_pictures_is_heeded() -> None:
    made, paths = LLaVA(), {"llm": "l", "vision": "v"}
    square, tiles = (
        made.config({"width": 8, "kv": 8, "rows": 9, "second": 8, **more}, paths) for more in ({}, {"line": 8})
    )
    assert made.heeded(square, {"image_aspect_ratio": "square"})["encoders"]["vision"]["fit"] == "crop"
    assert made.heeded(square, {"image_aspect_ratio": "pad"}) == made.heeded(square, {}) == square
    assert made.heeded(tiles, {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad"}) == tiles
    assert made.heeded(tiles, {"image_aspect_ratio": "anyres_max_9"})["inputs"]["image"]["projector"]["limit"] == 9
    for raw, told, words in (
        (square, {"image_aspect_ratio": "anyres"}, "image_aspect_ratio: 'anyres' is not one of pad, square"),
        (tiles, {"image_aspect_ratio": "pad"}, "image_aspect_ratio: 'pad' is not one of anyres, anyres_max_N"),
        (square, {"mm_vision_select_feature": "cls_patch"}, "mm_vision_select_feature: 'cls_patch' is not 'patch'"),
        (square, {"vision_feature_select_strategy": "full"}, "vision_feature_select_strategy: 'full' is not 'default'"),
        (tiles, {"mm_patch_merge_type": "flat"}, "mm_patch_merge_type: 'flat' is not 'spatial_unpad'"),
    ):
        with pytest.raises(ValueError, match=words):
            made.heeded(raw, told)


def test_refusals(bases: dict[str, str], tmp_path: Path) -> None:
    state = {renamed(name, ORIGINAL): x.clone() for name, x in model(False).state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    for name, words in (
        ({"llm": "lmsys/vicuna-7b-v1.5"}, "base llm: the checkpoint holds a whole llm; lmsys/vicuna-7b-v1.5 must be"),
        ({"vision": bases["llm"]}, "base vision: .* is not what the checkpoint grew from"),
    ):
        with pytest.raises(ValueError, match=words):
            convert("llava", tmp_path / "model.safetensors", tmp_path / "o", bases={**bases, **name}, any_size=True)
        assert not (tmp_path / "o").exists()
    with pytest.raises(ValueError, match="not of the published sizes"):
        convert("llava", tmp_path / "model.safetensors", tmp_path / "o", bases=bases)
    save_file({**state, "model.strange": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(KeysError, match=r"unknown \(1\): model.strange"):
        convert("llava", tmp_path / "more.safetensors", tmp_path / "o", bases=bases, any_size=True)
