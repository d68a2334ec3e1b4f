"""LAMM on pictures (arXiv 2306.06687; github.com/OpenGVLab/LAMM): `pytorch_model.pt` over Vicuna-13B v0.

The file holds what its training moved, as PandaGPT's does, from which LAMM grew: one linear map of CLIP's patches, and
LoRA by PEFT's names, without the adapter's (a later PEFT's are read too). The map of point clouds has the same name and
shape; a file does not say which of the two it is, and how EPCL's own file names its tokenizer is not known here: files
of clouds are not for this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from anyx.config import Config
from anyx.converters.folders import shipped
from anyx.converters.keys import Layout
from anyx.converters.llama import SIDES, lora_rules, projection_rules
from anyx.converters.pieces import plain
from anyx.converters.systems import Converter, Sizes, State

PREFIX = "llama_model.base_model.model."


class LAMM(Converter):
    """It has no options."""

    bases: ClassVar[Mapping[str, str]] = {
        "llm": "Vicuna-13B v0, LLaMA with the v0 delta merged",
        "vision": "openai/clip-vit-large-patch14",
    }
    notes: ClassVar[Sequence[str]] = (
        "Converted from LAMM. Its weights are CC-BY-NC-4.0, the LLM under LLaMA's licence.",
    )

    def __init__(self) -> None:
        self.published = {"13b": {"width": 5120, "layer": 40, "rank": 32, "encoded": 1024}}
        self.layouts = {
            "peft before 0.3": Layout([*lora_rules(PREFIX, ""), *projection_rules()], SIDES),
            "peft 0.3": Layout([*lora_rules(PREFIX), *projection_rules()], SIDES),
        }

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/lamm.yaml` on these bases, without point clouds, with LoRA of the file's rank."""
        raw = shipped("lamm")
        raw["llm"]["path"], raw["llm"]["lora"]["r"] = bases["llm"], sizes["rank"]
        raw["encoders"] = {"vision": {**raw["encoders"]["vision"], "path": bases["vision"]}}
        raw["inputs"] = {"image": raw["inputs"]["image"]}
        return raw

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The names are all that changes."""
        return dict(state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The names are all that changes."""
        return plain("lamm", state, tables, config)
