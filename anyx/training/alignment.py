"""Losses of what media become on their way into the LLM: which words they stand for, and how many.

They read the ids of captions that conversations give with received media, by key, and need no pass through the LLM.

Letters: m media of a key, l ids of a caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from anyx.config import Names
from anyx.data.batches import Dialogues
from anyx.interfaces import Tokens
from anyx.model import AnyX
from anyx.splice import sent
from anyx.training import losses
from anyx.training.conditions import Found, Step, found_in, over_items, tokens_of

InputKey = Annotated[str, Names(("inputs",))]
TOLD = "told"  # the name of the second term


def align(
    step: Step,
    *,
    kind: losses.AlignKind = "mse",
    contrast: float = 0.0,
    scale: float = 15.0,
    pad: str | None = None,
    keys: Sequence[InputKey] | None = None,
) -> Found | None:
    """Projected media tokens against the LLM's embeddings of their captions: a warm-up without a pass through the LLM.

    Past a caption's end the target is the embedding of `pad`, or the mean of the table. `contrast` weighs a second
    term: which of the batch's captions is it? (cosine times `scale`). It makes the tokens of media never met land
    nearest to the right words, where regression alone shrinks them towards the mean. Of several processes each tells
    apart the captions of its own part of a batch only.
    """
    assert isinstance(step.batch, Dialogues)
    assert isinstance(step.model, AnyX)
    captions = {key: ids for key, ids in step.batch.captions.items() if keys is None or key in keys}
    longest = max((ids.shape[1] for ids in captions.values()), default=0)
    every = [functional.pad(ids, (0, longest - ids.shape[1]), value=-1) for ids in captions.values()]
    empty = neutral(step, step.model, pad)
    found: dict[str, dict[str, losses.Mean]] = {}
    for key, ids in captions.items():
        tokens = tokens_of(step, key)
        words, there = step.model.llm.embed(ids.clamp(min=0)), tokens.values.device
        found[key] = {"": losses.alignment(tokens, words, sent(ids >= 0, there), empty, kind=kind)}
        if contrast and (ids >= 0).any():
            told = torch.unique(torch.cat(every), dim=0)
            told = told[(told >= 0).any(1)]
            named = sent(told >= 0, there)
            could, _ = losses.spelt(step.model.llm.embed(told.clamp(min=0)), named, empty, tokens.values.shape[1])
            mine = functional.pad(ids, (0, longest - ids.shape[1]), value=-1)
            real = (mine >= 0).any(1).nonzero().flatten()
            right = sent((mine[real][:, None] == told).all(-1).int().argmax(1), there)
            items = sent(real, there)
            said = Tokens(tokens.values[items], tokens.mask[items])
            found[key][TOLD] = over_items(losses.tell_apart(said, could, right, scale), len(right))
    return Found(found, within={"": 1.0, TOLD: contrast}) if found else None


def quantity(step: Step, *, relative: bool = False, keys: Sequence[InputKey] | None = None) -> Found | None:
    """How many tokens a projector makes of a medium, by itself, against the ids of its caption (C-Former).

    `relative` counts the error as a share of each caption's own length.
    """
    assert isinstance(step.batch, Dialogues)
    assert isinstance(step.model, AnyX)
    counting = [key for key, port in step.model.inputs.items() if port.projector.counts]
    if strangers := [key for key in keys or () if key not in counting] or ([] if counting else list(step.model.inputs)):
        known = ", ".join(counting) or "none"
        raise ValueError(f"losses.quantity: inputs.{strangers[0]}.projector counts no tokens; {known} does")
    found: dict[str, losses.Mean] = {}
    for key in counting if keys is None else keys:
        if key in step.batch.captions:
            number, ids = tokens_of(step, key).number, step.batch.captions[key]
            assert number is not None
            wanted = sent((ids >= 0).sum(1), number.device)
            loss = losses.quantity(number, wanted, relative=relative)
            found[key] = losses.Mean(loss, partial(counted, wanted))
    return found_in(found)


def counted(wanted: Tensor) -> losses.Sums:
    """What `quantity` divides by."""
    return [(wanted > 0).sum()]


def neutral(step: Step, model: AnyX, pad: str | None) -> Tensor:
    """What a token past the caption's end should be."""
    if "neutral" not in step.memo:
        tokenizer = model.processor.prompt.tokenizer
        ids = range(len(tokenizer)) if pad is None else tokenizer(pad, add_special_tokens=False)["input_ids"][:1]
        with torch.no_grad():
            step.memo["neutral"] = model.llm.embed(torch.tensor(list(ids), device=step.scale.device)).mean(0)
    return step.memo["neutral"]
