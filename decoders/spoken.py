"""The text side of AudioLDM2: CLAP and T5, a projection of both, and a language model that goes on in vectors.

They are only read from a pipeline's folder, and what they answer is asked of the pipeline itself. Each caption is
encoded alone: GPT-2 counts positions through padding, so in a batch its vectors would depend on the longest neighbour.

Letters: b captions, n positions, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AudioLDM2Pipeline, AudioLDM2ProjectionModel
from torch.nn.functional import pad
from transformers import GPT2LMHeadModel

from anyx.interfaces import Condition

from . import threads
from .conditions import NAME
from .text import TextEncoders
from .towers import Tower

GENERATED = "generated_prompt_embeds"
PARTS = {"encoder": "text_encoder", "encoder_2": "text_encoder_2"}  # by slot; the others are called as their folders
ABSENT = dict.fromkeys(("vae", "unet", "scheduler", "vocoder", "feature_extractor"))


def towers(length: int) -> list[Tower]:
    """CLAP, T5 for captions of at most `length` tokens, the projection of both, and the language model.

    That is named GPT2Model in published folders; its class with a head is the one that can go on by its own states
    (diffusers issue 12630).
    """
    return [
        Tower("ClapModel"),
        Tower("T5EncoderModel", "text_encoder_2", "tokenizer_2", length=length),
        Tower("", "projection_model", None, load=lambda s: s.model("projection_model", AudioLDM2ProjectionModel, None)),
        Tower("", "language_model", None, load=lambda source: source.text_model("language_model", GPT2LMHeadModel)),
    ]


def encode(text: TextEncoders, captions: Sequence[str]) -> Condition:
    """What the pipeline itself makes of each caption, T5's states padded to the condition's length."""
    parts = {PARTS.get(slot, slot): module for slot, module in text.held.items()}
    words = {"tokenizer": text.tokenizers["encoder"], "tokenizer_2": text.tokenizers["encoder_2"]}
    with threads.quiet():
        pipeline = AudioLDM2Pipeline(**ABSENT, **parts, **words)
    device = text.anchor.device
    length, vectors = text.shapes[NAME][0], text.shapes[GENERATED][0]
    states, masks, generated = [], [], []
    for caption in captions:
        one = [caption]  # also the transcription: what tokenizers read that are of no family the pipeline knows
        said, mask, vector = pipeline.encode_prompt(one, device, 1, False, one, max_new_tokens=vectors)
        states.append(pad(said, (0, 0, 0, length - said.shape[1])))
        masks.append(pad(mask, (0, length - mask.shape[1])).bool())
        generated.append(vector)
    full = torch.ones(len(captions), vectors, dtype=torch.bool, device=device)
    return Condition(
        {NAME: torch.cat(states), GENERATED: torch.cat(generated)}, {NAME: torch.cat(masks), GENERATED: full}
    )
