"""What a model says, in order: the LLM's words, and the media that its signal groups ask for.

Letters: b rows, d width, m media of a key, s ids of a group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from anyx.decoding import Group, Sampling, Speaker, Words, seeds_of, speak
from anyx.inside import Into
from anyx.interfaces import Condition, Tokens
from anyx.llm import LLM
from anyx.ports import Making, OutputPort
from anyx.processor import Batch, Conversation, MediaBatch, Processor
from anyx.reply import MediaEvent, TextEvent
from anyx.speaking.making import Asked, Maker
from anyx.splice import Side, Spliced
from anyx.watching import Watch, Watches, watches_of


class Model(Protocol):
    """What is asked of `anyx.model.AnyX`."""

    llm: LLM
    processor: Processor
    outputs: Mapping[str, OutputPort]
    into: Into

    @property
    def device(self) -> torch.device:
        """Where the LLM is."""
        ...

    def read(self, batch: Batch, *, side: Side = "right") -> tuple[Spliced, dict[str, Tokens]]:
        """Encode, project and splice the media of a batch."""
        ...

    def project(self, key: str, media: MediaBatch) -> Tokens:
        """A key's media as LLM tokens."""
        ...

    def condition(self, key: str, states: Float[Tensor, "m s d"]) -> Condition:
        """States at an output's signal groups as conditions of its decoder."""
        ...


def answers(
    model: Model,
    chats: Sequence[Conversation],
    sampling: Sampling,
    seeds: int | Sequence[int],
    how: Mapping[str, Making],
    maker: Maker,
    *,
    eager: bool,
    watch: Watches = None,
) -> Iterator[TextEvent | MediaEvent]:
    """Answers to conversations side by side; `eager` makes media at every step, else all at the end.

    What was asked of every conversation is told to the `watch` of each; one that is cancelled ends the row alone.
    """
    rows, watches = seeds_of(seeds, len(chats)), watches_of(watch, len(chats))
    batch = model.processor.collate([model.processor(chat, generate=True) for chat in chats], generate=True)
    media = [
        (key, row, count) for key, one in batch.inputs.items() for row, count in Counter(one.rows.tolist()).items()
    ]
    for key, row, count in media:
        watches[row].tell("encode", 0, count, key=key)
    with torch.inference_mode():
        spliced, _ = model.read(batch.to(model.device), side="left")
    for key, row, count in media:
        watches[row].tell("encode", count, count, key=key, finished=True)
    yield from told(model, model.llm, spliced, sampling, rows, how, maker, eager=eager, watches=watches)


def told(
    model: Model,
    speaker: Speaker,
    prompts: Spliced,
    sampling: Sampling,
    seeds: Sequence[int],
    how: Mapping[str, Making],
    maker: Maker,
    *,
    eager: bool,
    watches: Sequence[Watch],
) -> Iterator[TextEvent | MediaEvent]:
    """What a speaker says to prompts that are laid out, with the media that it shows."""
    ids, text = model.processor.prompt.stop
    read = speaker, prompts.embeddings, prompts.mask, prompts.context
    stop = {*ids, *model.llm.stop}
    steps = speak(*read, sampling=sampling, seeds=seeds, stop=stop, stop_text=text, watch=watches)
    for heard in steps if eager else [[item for step in steps for item in step]]:
        said = [item for item in heard if not watches[item.row].cancelled]
        groups = [item for item in said if isinstance(item, Group)]
        asked = [
            Asked(g.key, g.states, seeds[g.row], g.number, how.get(g.key, Making()), watches[g.row]) for g in groups
        ]
        media = iter(maker.make(asked))
        for item in said:
            if isinstance(item, Words):
                yield TextEvent(item.row, item.text)
            else:
                yield MediaEvent(item.row, item.key, next(media))
