"""Text encoders that teach several decoders: CLIP's and T5's states as a condition.

Letters: b captions, n positions, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

from anyx.interfaces import Condition

from .conditions import NAME
from .text import Encode, TextEncoders
from .towers import Tower


def clip(width: int) -> Tower:
    """CLIP's text encoder, `width` wide."""
    return Tower("CLIPTextModel", widths={"hidden_size": width})


def clip_states(text: TextEncoders, captions: Sequence[str]) -> Condition:
    """CLIP's last states, without a mask, as in diffusers: the encoder is causal."""
    output, mask = text.read("encoder", captions)
    return Condition({NAME: output[0]}, {NAME: mask})


def t5(width: int, length: int) -> Tower:
    """T5's encoder, `width` wide, for captions of at most `length` tokens."""
    return Tower("T5EncoderModel", widths={"d_model": width}, length=length)


def t5_states(*, masked: bool) -> Encode:
    """Captions -> its last states and their mask; `masked`: it is told what is padding, which not all pipelines do."""

    def encode(text: TextEncoders, captions: Sequence[str]) -> Condition:
        output, mask = text.read("encoder", captions, masked=masked)
        return Condition({NAME: output[0]}, {NAME: mask})

    return encode
