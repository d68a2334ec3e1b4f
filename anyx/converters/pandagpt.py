"""PandaGPT (arXiv 2305.16355; github.com/yxuansu/PandaGPT): the delta checkpoints of 7B and 13B.

The file holds what its training moved: one projection of ImageBind's embedding, shared by every input, and LoRA.
Nothing was added to the vocabulary; "<Img>" and "</Img>" are text. Several media of a turn are summed into one token
there; here each has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from anyx.config import Config
from anyx.converters.folders import shipped
from anyx.converters.keys import Layout
from anyx.converters.llama import SIDES, llama_and_imagebind, lora_rules, projection_rules
from anyx.converters.systems import Converter, Sizes, State

WIDTHS = {"encoded": 1024, "rank": 32}
PREFIX = "llama_model.base_model.model."


class PandaGPT(Converter):
    """It has no options."""

    bases: ClassVar[Mapping[str, str]] = {
        "llm": "Vicuna v0 of 7B or 13B, LLaMA with the v0 delta merged",
        "imagebind": "imagebind_huge.pth",
    }
    notes: ClassVar[Sequence[str]] = (
        "Converted from PandaGPT. Its weights and ImageBind's are CC-BY-NC-4.0.",
        "Only pictures were trained on; sound and video are heard by ImageBind's common space.",
    )

    def __init__(self) -> None:
        self.published = {
            "7b": WIDTHS | {"width": 4096, "layer": 32},
            "13b": WIDTHS | {"width": 5120, "layer": 40},
        }
        self.layouts = {
            "peft 0.3": Layout([*lora_rules(PREFIX), *projection_rules()], SIDES),
            "peft before 0.3": Layout([*lora_rules(PREFIX, ""), *projection_rules()], SIDES),
        }

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """NExT-GPT's YAML, which grew from it, without outputs."""
        raw = shipped("nextgpt")
        del raw["outputs"]
        return llama_and_imagebind(raw, sizes, bases)

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The names are all that changes."""
        return dict(state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The names are all that changes."""
        if tables or config.outputs or (config.llm and config.llm.added_tokens):
            raise ValueError("pandagpt has no llm.tables, no llm.added_tokens and no outputs; this model has")
        return dict(state)
