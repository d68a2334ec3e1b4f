"""Grounding: boxes as the text that models read and write, one codec a family, and boxes drawn on the picture.

A YAML names a codec on the input whose media the boxes lie in: `inputs.<key>.boxes: {type: minigpt_v2}`. A further one
is a final class of `BoxCodec` in a file of its own and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyx.grounding.boxes import Box, BoxCodec, Content, Parsed, Region, Size
from anyx.imports import find
from anyx.signatures import require

__all__ = ["CODECS", "Box", "BoxCodec", "Content", "Parsed", "Region", "Size", "codec"]

CODECS: Mapping[str, str] = {
    "minigpt_v2": "anyx.grounding.minigpt:MiniGPTCodec",
    "qwen_vl": "anyx.grounding.qwen:QwenCodec",
    "cogvlm": "anyx.grounding.cogvlm:CogVLMCodec",
    "kosmos2": "anyx.grounding.kosmos:KosmosCodec",
    "llava": "anyx.grounding.floats:LlavaCodec",
    "shikra": "anyx.grounding.shikra:ShikraCodec",
    "fuyu": "anyx.grounding.fuyu:FuyuCodec",
    "space": "anyx.grounding.space:SpaceCodec",
    "set_of_mark": "anyx.grounding.marks:MarkCodec",
}


def codec(name: str, options: Mapping[str, Any] | None = None) -> BoxCodec:
    """A codec by its name, or by `module:Class`; `options` are its keyword arguments."""
    if name not in CODECS and ":" not in name:
        raise ValueError(f"boxes.type: {name!r} is not one of {', '.join(CODECS)} (or 'module:Class')")
    cls = find(CODECS.get(name, name), "boxes.type")
    require("boxes", options or {}, cls)
    made: BoxCodec = cls(**(options or {}))
    return made
