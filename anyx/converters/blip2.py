"""BLIP-2, InstructBLIP and X-InstructBLIP (arXiv 2301.12597, 2305.06500, 2311.18799) in LAVIS' layout (`lavis.py`).

A file holds what training moved, under "model": queries, Q-Former, `ln_vision`, one map to the LLM (`opt_proj`,
`llm_proj`); a caption fine-tune the tower too. The LLM, the tower and BERT's tokenizer are named by `bases`. Files over
Flan-T5 (`t5_proj`) and of BLIP-2's first stage, which speaks to no LLM, are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from anyx.config import Config
from anyx.converters.keys import Layout
from anyx.converters.lavis import EYE, READER, WORDS, inward, outward, port_rules, standing, tower_rules
from anyx.converters.systems import Converter, Sizes, State

EVA = "EVA-CLIP-g as transformers saves it, alone or in a whole BLIP-2"
BERT = "the tokenizer of google-bert/bert-base-uncased"
VICUNA = "Vicuna v1.1 of 7B or 13B"
FLAN = {"flan-t5 xl": 2048, "flan-t5 xxl": 4096}
LLMS = {"opt 2.7b": 2560, "opt 6.7b": 4096, "vicuna 7b": 4096, "vicuna 13b": 5120} | FLAN
PLACES = {"224 pixels": 257, "364 pixels": 677}  # of the tower; pictures of captions are larger
LICENCE = "LAVIS' code is BSD-3; the LLM is under its own terms."


def plain(proj: str) -> tuple[str, str, str, str]:
    """The names of a file with one Q-Former."""
    return "query_tokens", "ln_vision", "Qformer", proj


class BLIP2(Converter):
    """BLIP-2's second stage and its fine-tunes, over OPT or Vicuna. It has no options.

    A model that was not converted is written as one over OPT (`opt_proj`).
    """

    bases: ClassVar[Mapping[str, str]] = {"llm": f"OPT of 2.7B or 6.7B, or {VICUNA}", "eva": EVA}
    notes: ClassVar[Sequence[str]] = (f"Converted from BLIP-2. {LICENCE}",)

    def __init__(self) -> None:
        shared = {**READER, **EYE, "image": 32}
        self.published = {
            f"{llm}, {side}": {**shared, "llm": width, "places": places}
            for llm, width in LLMS.items()
            for side, places in PLACES.items()
        }
        self.layouts = {
            proj: Layout([*port_rules("image", plain(proj), reads=False), *tower_rules()], WORDS)
            for proj in ("opt_proj", "llm_proj", "t5_proj")
        }

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/blip2.yaml` on these bases."""
        return standing("blip2", sizes, bases, reads=False)

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tower that is there, as transformers has it; else names alone."""
        return inward("blip2", state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The way back of `ours`."""
        return outward("blip2", state, tables, config)


class InstructBLIP(Converter):
    """InstructBLIP over Vicuna, whose queries read the instruction. It has no options."""

    bases: ClassVar[Mapping[str, str]] = {"llm": VICUNA, "eva": EVA, "bert": BERT}
    notes: ClassVar[Sequence[str]] = (f"Converted from InstructBLIP. {LICENCE}",)

    def __init__(self) -> None:
        shared = {**READER, **EYE, "image": 32, "places": 257}
        widths = {"vicuna 7b": 4096, "vicuna 13b": 5120} | FLAN
        self.published = {llm: {**shared, "llm": width} for llm, width in widths.items()}
        self.layouts = {
            proj: Layout([*port_rules("image", plain(proj), reads=True), *tower_rules()], WORDS)
            for proj in ("llm_proj", "t5_proj")
        }

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/instructblip.yaml` on these bases."""
        return standing("instructblip", sizes, bases, reads=True)

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tower that is there, as transformers has it; else names alone."""
        return inward("instructblip", state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The way back of `ours`."""
        return outward("instructblip", state, tables, config)


class XInstructBLIP(Converter):
    """X-InstructBLIP's picture and video over Vicuna, a file each; one file, or a folder of one or both.

    The project's documentation names a modality's norm `image_ln` and its Q-Former `image_qformer`. That the queries
    and the map have the modality before their names too, and that the Q-Former may be spelled as elsewhere in LAVIS
    (`image_Qformer`), is assumed: no file could be opened where this was written. A file that is otherwise is refused.
    """

    bases: ClassVar[Mapping[str, str]] = {"llm": VICUNA, "eva": EVA, "bert": BERT}
    notes: ClassVar[Sequence[str]] = (
        f"Converted from X-InstructBLIP. {LICENCE}",
        "Its sound and its points are not here: the names in their files are not known.",
    )
    files: ClassVar[Mapping[str, str]] = {"image_qformer.pth": "image_", "video_qformer.pth": "video_"}

    def __init__(self) -> None:
        shared = {**READER, "image": 32, "video": 32}
        self.published = {name: {**shared, "llm": width} for name, width in (("vicuna 7b", 4096), ("vicuna 13b", 5120))}
        self.layouts = {}
        for spelled in ("Qformer", "qformer"):
            rules = []
            for key in ("image", "video"):
                names = (f"{key}_query_tokens", f"{key}_ln", f"{key}_{spelled}", f"{key}_llm_proj")
                rules += port_rules(key, names, reads=True, group=key)
            self.layouts[spelled] = Layout(rules, WORDS)

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/xinstructblip.yaml` on these bases, with the modalities that are there."""
        return standing("xinstructblip", sizes, bases, reads=True)

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The names are all that changes."""
        if not state:
            raise ValueError("this file of xinstructblip holds neither image_* nor video_*: it is empty")
        return inward("xinstructblip", state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The names are all that changes."""
        return outward("xinstructblip", state, tables, config)
