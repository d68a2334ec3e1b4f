"""LLaVA-1.5 and LLaVA-NeXT: the projector, AnyRes' tiles and order of tokens, pooled frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from golden import Case, cases, required
from PIL import Image as PILImage
from torch import Tensor, nn

from anyx.encoders.pictures import padded, pixels_of
from anyx.encoders.tiles import best_grid, cut, lay
from anyx.input_projectors import LinearInputProjector, MLPInputProjector
from anyx.interfaces import Tokens
from anyx.packing import pack_frames, pack_picture

ITEMS = ("07_llava", "07_llava_next")


@pytest.mark.parametrize("found", cases("07_llava", "projector*"))
def test_projectors(found: Case | None) -> None:
    case = required(found)
    parts: dict[str, LinearInputProjector | MLPInputProjector] = {}
    for name in {key.split(".")[0] for key in case.shapes}:
        matrices = [shape for key, shape in case.shapes.items() if key.startswith(f"{name}.") and len(shape) == 2]
        dim_out, dim_in = matrices[0]
        linear = name == "linear"
        parts[name] = (
            LinearInputProjector(dim_in, dim_out)
            if linear
            else MLPInputProjector(dim_in, dim_out, layers=len(matrices))
        )
    theirs = nn.ModuleDict({name: part.proj for name, part in parts.items()})
    theirs.load_state_dict(case.weights())
    x = case.part("in")["x"].requires_grad_()
    outputs = {name: part(Tokens.full(x)).values for name, part in parts.items()}
    assert {f"out.{name}" for name in outputs} == {name for name in case.tensors if name.startswith("out.")}
    case.compare(outputs)
    case.compare_gradients(outputs, {"x": x}, theirs)


def pictures(case: Case) -> dict[str, PILImage.Image]:
    return {name: PILImage.fromarray(np.asarray(x)) for name, x in case.part("in").items()}


@pytest.mark.parametrize("found", [one for item in ITEMS for one in cases(item, "anyres_pixels*")])
def test_tiles(found: Case | None) -> None:
    case = required(found)
    side, grids = case.sizes["tile"], [tuple(grid) for grid in case.sizes["pinpoints_wh"]]
    outputs: dict[str, Tensor] = {}
    for name, picture in pictures(case).items():
        tiles = cut(picture, best_grid(picture.size, grids), side)
        outputs[f"{name}.tiles"] = torch.stack([pixels_of(tile) for tile in tiles])
        square = padded(picture, tuple(case.sizes["background"]))
        outputs[f"{name}.square"] = pixels_of(square).permute(1, 2, 0)
    assert {f"out.{name}" for name in outputs} == {name for name in case.tensors if name.startswith("out.")}
    case.compare(outputs)


def coded(tiles: int, side: int) -> Tensor:
    """Features that say where they come from: (tile, row, column)."""
    places = torch.cartesian_prod(torch.arange(tiles), torch.arange(side), torch.arange(side))
    return places.view(tiles, side * side, 3).float()


def packed(entry: Mapping[str, Any], grids: list[tuple[int, int]], tile: int) -> Tensor:
    """What becomes of a picture's tiles, by the reference's words for it."""
    width, height = entry["image_size_wh"]
    side, words = entry["patches_per_side"], entry["merge"].split("_")
    chosen = best_grid((width, height), grids)
    grid = chosen[1] // tile, chosen[0] // tile
    assert (list(chosen), list(grid[::-1]), math.prod(grid) + 1) == (
        entry["best_resolution_wh"],
        entry["grid_wh"],
        entry["n_tiles"],
    )
    merge: Any = "flat" if words == ["flat"] else "unpad" if "unpad" in words else "spatial"
    tokens, layout = lay(coded(entry["n_tiles"], side), grid, (height, width), merge)
    if layout is None:
        return tokens
    limit = entry["aspect"].partition("anyres_max_")[2]
    return pack_picture(
        tokens,
        layout,
        -torch.ones(3) if "unpad" in words else None,
        whole="nobase" not in words,
        limit=int(limit) if limit else None,
        maxpool="maxpool2x2" in words,
    )


@pytest.mark.parametrize("found", [one for item in ITEMS for one in cases(item, "anyres_tokens*")])
def test_order_of_tokens(found: Case | None) -> None:
    case = required(found)
    grids, tile = [tuple(grid) for grid in case.sizes["pinpoints"]], case.sizes["vision_image_size"]
    outputs: dict[str, Tensor] = {}
    for entry in case.sidecar["table"]:
        tokens = packed(entry, grids, tile)
        assert len(tokens) == entry["n_tokens"], entry
        name = "layout.{}x{}.{}.{}".format(*entry["image_size_wh"], entry["merge"], entry["aspect"])
        if entry["patches_per_side"] == case.sizes["patches_per_side"] and f"out.{name}" in case.tensors:
            outputs[name] = tokens
    assert {f"out.{name}" for name in outputs} == {name for name in case.tensors if name.startswith("out.")}
    case.compare(outputs)


@pytest.mark.parametrize("found", cases("07_llava_next", "video_tokens*"))
def test_frames(found: Case | None) -> None:
    case = required(found)
    frames, newline = case.part("in")["frames"], case.weights()["image_newline"]
    side = math.isqrt(frames.shape[1])
    names = [name.removeprefix("out.") for name in case.tensors if name.startswith("out.")]
    outputs = {}
    for name in names:
        pool, ends = name.split(".")
        grid = len(frames), side, side
        outputs[name] = pack_frames(frames.flatten(0, 1), grid, newline, pool=pool, ends=ends)  # type: ignore[arg-type]
    case.compare(outputs)
