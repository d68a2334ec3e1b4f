"""T5's encoder as the teacher of a decoder.

Letters: b captions, n positions, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

from anyx.interfaces import Condition

from .conditions import NAME
from .text import Encode, TextEncoders, Tower


def t5(width: int, length: int) -> Tower:
    """T5's encoder, `width` wide, for captions of at most `length` tokens."""
    return Tower("T5EncoderModel", widths={"d_model": width}, length=length)


def t5_states(*, masked: bool) -> Encode:
    """Captions -> its last states and their mask; `masked`: it is told what is padding, which not all pipelines do."""

    def encode(text: TextEncoders, captions: Sequence[str]) -> Condition:
        output, mask = text.read("encoder", captions, masked=masked)
        return Condition({NAME: output[0]}, {NAME: mask})

    return encode
