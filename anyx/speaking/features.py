"""Media that were met, as the LLM reads them: what an encoder and a projector made of them is kept in memory.

A medium is known by its content, with the words beside it where its projector reads those. The media of a turn that
are new are encoded together, one stack a key.

Letters: n tokens of a medium, d width.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch

from anyx.digests import media_digest
from anyx.interfaces import Media, Tokens
from anyx.pages import Slot
from anyx.processor import Batch, Processor, gather, source_of
from anyx.speaking.events import Model
from anyx.watching import Watch

Name = tuple[str, str, tuple[int, ...] | None]  # key, digest, ids of the words beside it


class Features:
    """Projected tokens of media, the least lately used forgotten beyond `bound` bytes; threads may share it."""

    def __init__(self, bound: int = 1 << 28) -> None:
        self.bound, self.size = bound, 0
        self._kept: OrderedDict[Name, Tokens] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def forget(self) -> None:
        """Encode everything anew; for weights or settings that have changed."""
        with self._lock:
            self._kept.clear()
            self.size = 0

    @torch.inference_mode()
    def tokens(
        self, model: Model, slots: Sequence[Slot], said: Sequence[str], watch: Watch | None = None
    ) -> list[Tokens]:
        """The tokens (1, n, d) of the media in slots; `said` is what the turn of each says.

        `watch` hears of what is encoded, not of what was known.
        """
        watch = watch or Watch()
        names = [named(model.processor, slot, words) for slot, words in zip(slots, said, strict=True)]
        found = {name: tokens for name in names if (tokens := self._take(name)) is not None}
        fresh: dict[str, dict[Name, tuple[Slot, str]]] = {}
        for name, slot, words in zip(names, slots, said, strict=True):
            if name not in found:
                fresh.setdefault(slot.key, {})[name] = slot, words
        for key, wanted in fresh.items():
            watch.tell("encode", 0, len(wanted), key=key)
            stack = gather(key, [(0, model.processor.receive(slot, words)) for slot, words in wanted.values()])
            nothing = torch.zeros(1, 0, dtype=torch.long)
            batch = Batch(nothing, nothing.bool(), nothing, {key: stack}, {}).to(model.device)
            made = model.project(key, batch.inputs[key])
            for item, name in enumerate(wanted):
                found[name] = made.chosen([item])
                self._keep(name, found[name])
            watch.tell("encode", len(wanted), len(wanted), key=key, finished=True)
        return [found[name] for name in names]

    def _take(self, name: Name) -> Tokens | None:
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)

    def _keep(self, name: Name, tokens: Tokens) -> None:
        with self._lock:
            self._kept[name] = tokens
            self.size = sum(one.values.nbytes + one.mask.nbytes for one in self._kept.values())
            while self.size > self.bound:
                _, gone = self._kept.popitem(last=False)
                self.size -= gone.values.nbytes + gone.mask.nbytes


def named(processor: Processor, slot: Slot, said: str) -> Name:
    """What a medium is known by."""
    source = source_of(slot.part)
    if not (Path(source).is_file() if isinstance(source, str | Path) else isinstance(source, bytes | Media)):
        source = processor.read(slot.key, slot.part)  # an array or a picture of PIL; or it says what is wrong
    words = processor.words[slot.key](said) if slot.key in processor.words else None
    return slot.key, media_digest(source), None if words is None else tuple(words)
