"""MiniGPT-4 and MiniGPT-v2 (arXiv 2304.10592, 2310.09478; github.com/Vision-CAIR/MiniGPT-4).

A file holds what training moved, under "model": one linear map (`llama_proj`), and in MiniGPT-v2 LoRA of rank 64 on the
queries and values. Everything else is published elsewhere and named by `bases`. MiniGPT-v2's file has no `ln_vision`,
and its code loads none: the model runs with weight 1 and bias 0, not with BLIP-2's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from anyx.config import Config
from anyx.converters.folders import shipped
from anyx.converters.keys import Layout, Rule
from anyx.converters.llama import lora_rules
from anyx.converters.pieces import plain
from anyx.converters.systems import Converter, Sizes, State

PREFIX = "llama_model.base_model.model."
SIDES = {"side": ("q_proj", "v_proj")}
OURS = "inputs.image.projector.proj"
PROJECTION, STACKED = (  # of a Q-Former's token, of four neighbouring patches
    [Rule("llama_proj.weight", f"{OURS}.weight", f"width {read}"), Rule("llama_proj.bias", f"{OURS}.bias", "width")]
    for read in ("encoded", "4*encoded")
)
STACKING = {
    "llm": "Llama-2-chat 7B",
    "eva": "EVA-CLIP-g as transformers' Blip2VisionModel saves it; its LayerNorm at the end is not used",
}


def standing(system: str, llm: str, eye: str) -> dict[str, Any]:
    """A shipped YAML with the paths of its LLM and encoder."""
    raw = shipped(system)
    raw["llm"]["path"], raw["encoders"]["vision"]["path"] = llm, eye
    return raw


class MiniGPTv2(Converter):
    """It has no options. The released file was written by PEFT 0.2, which writes no name of the adapter."""

    bases: ClassVar[Mapping[str, str]] = STACKING
    notes: ClassVar[Sequence[str]] = ("Converted from MiniGPT-v2. The LLM is under Llama 2's licence.",)

    def __init__(self) -> None:
        self.published = {"7b": {"width": 4096, "layer": 32, "rank": 64, "encoded": 1408}}
        self.layouts = {
            "peft 0.2": Layout([*lora_rules(PREFIX, ""), *STACKED], SIDES),
            "peft 0.3": Layout([*lora_rules(PREFIX), *STACKED], SIDES),
        }

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/minigpt_v2.yaml` on these bases, with LoRA of the file's rank."""
        raw = standing("minigpt_v2", bases["llm"], bases["eva"])
        raw["llm"]["lora"]["r"] = sizes["rank"]
        return raw

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The names are all that changes."""
        return dict(state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The names are all that changes."""
        return plain("minigpt_v2", state, tables, config)


class MiniGPT4Llama2(Converter):
    """MiniGPT-4 over Llama-2-chat: MiniGPT-v2's stacks at 224 pixels, without LoRA. It has no options."""

    bases: ClassVar[Mapping[str, str]] = STACKING
    notes: ClassVar[Sequence[str]] = ("Converted from MiniGPT-4. The LLM is under Llama 2's licence.",)

    def __init__(self) -> None:
        self.published = {"7b": {"width": 4096, "encoded": 1408}}
        self.layouts = {"projection": Layout(STACKED)}

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/minigpt4_llama2.yaml` on these bases."""
        return standing("minigpt4_llama2", bases["llm"], bases["eva"])

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The names are all that changes."""
        return dict(state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The names are all that changes."""
        return plain("minigpt4_llama2", state, tables, config)


class MiniGPT4(Converter):
    """It has no options. Vicuna v0 of 7B or 13B; the file over Llama-2 is `minigpt4_llama2`'s."""

    bases: ClassVar[Mapping[str, str]] = {
        "llm": "Vicuna v0 of 7B or 13B",
        "blip2": "a BLIP-2 as transformers saves it: its vision model, query tokens and Q-Former are read",
    }
    notes: ClassVar[Sequence[str]] = ("Converted from MiniGPT-4. The LLM is under LLaMA's licence.",)

    def __init__(self) -> None:
        self.published = {"7b": {"width": 4096, "encoded": 768}, "13b": {"width": 5120, "encoded": 768}}
        self.layouts = {"projection": Layout(PROJECTION)}

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/minigpt4.yaml` on these bases."""
        return standing("minigpt4", bases["llm"], bases["blip2"])

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The names are all that changes."""
        return dict(state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The names are all that changes."""
        return plain("minigpt4", state, tables, config)
