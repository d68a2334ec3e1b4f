"""Spoken words: emoji world's voices say one to three of its 233 names in a row; what is said is to be written down.

*Train*: the voices slt, rms and awb, in sequences drawn with one seed, changed by emoji world's `augment.py`. *Seen*
test: the same voices, other sequences and other changes. *Unseen* test: kal16, unchanged; espeak stands apart, where
it was rebuilt. All names are heard in training; of test sequences of two or three none is, but by chance. `Spoken` is
the source that `speech.yaml` names, `SpokenCorpus` what `evaluation.yaml` does.

Letters: n samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, overload

import torch

from anyx.data.sources import Record
from anyx.evaluation.corpus import Message
from anyx.imports import import_file
from anyx.media import Audio

world = import_file(Path(__file__).parents[1] / "emoji" / "corpus.py")
change, RATE = world.change, world.RATE
ASK = ("Write down what is said.", "What do you hear?", "Write this down.", "Transcribe this.", "What are the words?")
ASK_NEW = ("Put what you hear into writing.", "Which words are these?", "Please transcribe what was said.")
LONGEST = 3  # names of an utterance
GAP = (0.05, 0.25)  # seconds between names


@cache
def names() -> tuple[Any, ...]:
    """The concepts that every voice says."""
    return tuple(concept for concept in world.core() if concept.speech)


def drawn(purpose: str, index: int) -> tuple[tuple[Any, ...], torch.Generator]:
    """The concepts of an utterance, one to three in turn, and the generator that goes on to say how."""
    generator = torch.Generator().manual_seed(change.seed_of("spoken", purpose, index))
    chosen = torch.randint(len(names()), (1 + index % LONGEST,), generator=generator).tolist()
    return tuple(names()[place] for place in chosen), generator


def said(concepts: Sequence[Any]) -> str:
    """What an utterance says."""
    return " ".join(concept.label for concept in concepts)


def utterance(concepts: Sequence[Any], voice: str, generator: torch.Generator) -> Audio:
    """One voice says the names one after the other, with short silences between."""
    pieces = []
    for concept in concepts:
        sound = world.spoken(concept.speech[voice]).samples
        silence = float(change.between(*GAP, (1,), generator))
        pieces += [sound, torch.zeros(1, int(RATE * silence))]
    return Audio(torch.cat(pieces[:-1], dim=1), RATE)


class Spoken(Sequence[Record]):
    """`records` utterances to learn from, a third of them of one name, two, and three."""

    def __init__(self, *, records: int = 1600) -> None:
        self.records = records

    def __len__(self) -> int:
        return self.records

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """A dialogue: an utterance and a request, and what is said."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < self.records:
            raise IndexError(index)
        concepts, generator = drawn("train", index)
        voices = world.VOICES["train"]
        sound = utterance(concepts, voices[index // LONGEST % len(voices)], generator)
        words = said(concepts)
        heard = {"type": "speech", "media": sound, "caption": words}
        asked = {"type": "text", "text": ASK[index % len(ASK)]}
        messages = [{"role": "user", "content": [heard, asked]}, {"role": "assistant", "content": words}]
        return {"id": f"spoken/{index}", "messages": messages}


class SpokenCorpus:
    """What the evaluation asks: a hundred sequences that training never drew, each by one voice of a split."""

    keys: Sequence[str] = ("text", "speech")
    splits: Sequence[str] = ("seen", "unseen")
    apart: Mapping[str, Sequence[str]] = dict.fromkeys(world.REBUILT, ("speech->text",))
    judged: Sequence[str] = ("seen",)
    synthetic: Mapping[str, Sequence[str]] = {}
    aspects: Mapping[str, Sequence[str]] = {}

    def __init__(self, *, utterances: int = 300) -> None:
        self.concepts = {str(index): drawn("test", index)[0] for index in range(utterances)}
        self.labels = list(dict.fromkeys(said(concepts) for concepts in self.concepts.values()))

    def chosen(self, split: str, limit: int | None) -> list[str]:
        """The first utterances, the same in every split."""
        return list(self.concepts)[:limit]

    def label(self, concept: str) -> str:
        """What is said."""
        return said(self.concepts[concept])

    def request(self, split: str, source: str, target: str, concept: str, seed: int) -> list[Message]:
        """One user turn in words that training never saw."""
        ask = {"type": "text", "text": ASK_NEW[(int(concept) + seed) % len(ASK_NEW)]}
        return [{"role": "user", "content": [{"type": "speech", "media": None}, ask]}]

    def media(self, split: str, key: str, concept: str, seed: int) -> Audio:
        """The utterance by a voice of the split."""
        _, generator = drawn(f"test {split} {seed}", int(concept))
        voices = world.VOICES[split]
        sound = utterance(self.concepts[concept], voices[int(concept) // LONGEST % len(voices)], generator)
        return Audio(change.speech(sound.samples[0], generator)[None], RATE) if split == "seen" else sound

    def real(self, split: str, key: str, concept: str, seed: int) -> Any:
        """A right answer, or the utterance again."""
        return self.label(concept) if key == "text" else self.media(split, key, concept, seed + 1)

    def plain(self) -> list[str]:
        """Nothing: this model only writes down."""
        return []
