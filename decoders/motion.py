"""Unets of clips: three-dimensional ones, and an image unet with a motion adapter in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNet3DConditionModel, UNetMotionModel
from torch import nn

from . import checks, folders, threads

Spec = Mapping[str, Any] | str | None


def video_unet(source: folders.Source, unet: Spec, motion: Spec, frames: int) -> Any:
    """The unet of the pipeline or of configurations: with `motion` an image unet that moves, else a 3D one."""
    name = source.class_of("unet") or ("UNet3DConditionModel" if motion is None else "UNet2DConditionModel")
    if name == "UNet3DConditionModel":
        if motion is not None:
            raise ValueError("motion_adapter: it goes with an image pipeline, but the pipeline's unet is 3D")
        return source.model("unet", UNet3DConditionModel, unet)
    if name == "UNet2DConditionModel":
        if motion is None:
            raise ValueError(f"motion_adapter: {source.path!r} is an image pipeline, so a motion adapter is required")
        image = source.model("unet", UNet2DConditionModel, unet)
        with threads.quiet():  # diffusers tells of casts that change nothing here
            model = UNetMotionModel.from_unet2d(image, _adapter(source, motion, image, frames)).eval()
    else:
        model = source.model("unet", UNetMotionModel, unet)
    check_frames(frames, model)
    return model


def check_frames(frames: int, unet: Any) -> int:
    """So many frames as the unet can tell apart."""
    found = checks.count("frames", frames)
    if isinstance(unet, UNetMotionModel) and unet.config.motion_max_seq_length < found:
        raise ValueError(f"frames: {frames} are more than the motion adapter's {unet.config.motion_max_seq_length}")
    return found


def parts(unet: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The image denoiser, and what a motion adapter added to it."""
    named = list(unet.named_parameters())
    return {
        "denoiser": [p for name, p in named if "motion_modules" not in name],
        "motion": [p for name, p in named if "motion_modules" in name],
    }


def save(unet: Any, folder: Path, dtype: torch.dtype | None) -> Path:
    """Write the motion modules alone."""
    state = {name: value for name, value in unet.state_dict().items() if "motion_modules" in name}
    config = unet.config
    adapter = MotionAdapter(
        block_out_channels=config.block_out_channels,
        motion_layers_per_block=config.layers_per_block,
        motion_transformer_layers_per_block=config.temporal_transformer_layers_per_block,
        motion_transformer_layers_per_mid_block=config.temporal_transformer_layers_per_mid_block,
        motion_norm_num_groups=config.norm_num_groups,
        motion_num_attention_heads=config.motion_num_attention_heads,
        motion_max_seq_length=config.motion_max_seq_length,
        use_motion_mid_block=config.use_motion_mid_block,
    )
    adapter.load_state_dict(state)
    folders.write(adapter, folder, dtype)
    return folder


def _adapter(source: folders.Source, given: Mapping[str, Any] | str, unet: Any, frames: int) -> Any:
    if isinstance(given, str):
        return source.model("motion_adapter", MotionAdapter, given)
    config = {
        "block_out_channels": unet.config.block_out_channels,
        "motion_layers_per_block": unet.config.layers_per_block,
        "motion_norm_num_groups": unet.config.norm_num_groups,
        "motion_max_seq_length": max(frames, 32),
    }
    adapter = source.model("motion_adapter", MotionAdapter, config | dict(given))
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if ".proj_out." in name:
                parameter.zero_()
    return adapter
