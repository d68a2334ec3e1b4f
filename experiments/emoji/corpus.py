"""The emoji world: 233 concepts seen, heard, named and moving, 141 only named; what is for learning, what for tests.

*Train*: the noto and fluent stills, frames 0 to 8 of the animations, the voices slt, rms and awb, all augmented.
*Seen* test: the same sources under seeds that training never draws, clips that run through frames 9 to 11. *Unseen*
test: twemoji, the voice kal16, and clips made of twemoji stills by a seeded pan and zoom (synthetic). The animals' own
sounds, and espeak where `rebuild_corpus.py` has made it, are reported apart. `augment.py` draws the copies;
`EmojiCorpus` is what `evaluation.yaml` names.

Letters: b pictures, t frames, h height, w width, n samples.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from anyx.evaluation.corpus import Message
from anyx.imports import import_file
from anyx.media import Audio, Image, Video

FOLDER = Path(__file__).parent
DATA = FOLDER / "data"
change = import_file(FOLDER / "augment.py")
CLIP, RATE, TRAIN_FRAMES = change.CLIP, change.RATE, change.TRAIN_FRAMES
STYLES = {"train": ("noto", "fluent"), "seen": ("noto", "fluent"), "unseen": ("twemoji",)}
HARD = "espeak"  # a formant synthesiser's voice, which `rebuild_corpus.py` makes; it is not vendored
VOICES = {"train": ("slt", "rms", "awb"), "seen": ("slt", "rms", "awb"), "unseen": ("kal16",), HARD: (HARD,)}


@dataclass(frozen=True)
class Concept:
    """One thing of the world; media, which core things have, are paths relative to the data folder."""

    id: str
    label: str
    category: str
    subcategory: str
    keywords: tuple[str, ...]
    core: bool
    image: Mapping[str, str]
    video: str
    speech: Mapping[str, str]
    sound: tuple[str, ...] = field(default=())


@cache
def concepts(folder: Path = DATA) -> tuple[Concept, ...]:
    """All concepts, the 233 core ones first."""
    rows = [json.loads(line) for line in gzip.decompress((folder / "manifest.jsonl.gz").read_bytes()).splitlines()]
    found = [
        Concept(
            id=row["id"],
            label=row["label"],
            category=row["category"],
            subcategory=row["subcategory"],
            keywords=tuple(row["keywords"]),
            core=row["core"],
            image=row.get("image", {}),
            video=row.get("video", ""),
            speech={voice: spoken["path"] for voice, spoken in row.get("speech", {}).items()},
            sound=tuple(row.get("sound", ())),
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda concept: not concept.core))


def core(folder: Path = DATA) -> tuple[Concept, ...]:
    """The core concepts."""
    return tuple(concept for concept in concepts(folder) if concept.core)


def rebuilt(voice: str = HARD) -> bool:
    """Whether a voice that is not vendored is there."""
    return (DATA / "speech" / voice).is_dir()


REBUILT = (HARD,) if rebuilt() else ()


def sibling(name: str) -> ModuleType:
    """Another file of this folder as a module, wherever the interpreter was started."""
    return import_file(FOLDER / f"{name}.py")


@lru_cache(maxsize=1024)
def picture(path: str) -> Image:
    return Image.read(DATA / path)


@lru_cache(maxsize=512)
def animation(path: str) -> Video:
    return Video.read(DATA / path)


@lru_cache(maxsize=2048)
def spoken(path: str) -> Audio:
    return Audio.read(DATA / path, rate=RATE).mono()


def seen_clip(video: Video, generator: torch.Generator) -> Video:
    """Eight frames that start at the ninth or later and run round the loop faster than any in training."""
    phase, speed = torch.rand(2, generator=generator).tolist()
    places = (8.5 + phase + (1.05 + 0.4 * speed) * torch.arange(CLIP)).round().long() % len(video.frames)
    return Video(change.pictures(video.frames[places], generator, together=True), video.fps)


def train_frames(concept: Concept) -> Tensor:
    """The frames of an animation that may be learnt from, (9, 3, h, w)."""
    return animation(concept.video).frames[:TRAIN_FRAMES]


def held_out(concept: Concept, key: str, split: str, seed: int) -> Image | Audio | Video:
    """A test medium of a concept, decided by its split and seed."""
    generator = torch.Generator().manual_seed(change.seed_of("test", split, key, concept.id, seed))
    pick = int(torch.randint(1 << 30, (), generator=generator))
    if key == "image":
        styles = STYLES[split]
        still = picture(concept.image[styles[pick % len(styles)]])
        return Image(change.pictures(still.pixels[None], generator)[0]) if split == "seen" else still
    if key == "audio":
        if split == "sound":
            return spoken(concept.sound[-1])
        voices = VOICES[split]
        sound = spoken(concept.speech[voices[pick % len(voices)]])
        return Audio(change.speech(sound.samples[0], generator)[None], RATE) if split == "seen" else sound
    if split == "seen":
        return seen_clip(animation(concept.video), generator)
    still = picture(concept.image["twemoji"])
    return Video(change.pan(still.pixels, CLIP, generator), animation(concept.video).fps)


class EmojiCorpus:
    """What the evaluation asks of a corpus: labels, cells, requests, real held-out media."""

    keys: tuple[str, ...] = ("text", "image", "audio", "video")
    splits: tuple[str, ...] = ("seen", "unseen")
    apart: Mapping[str, Sequence[str]] = dict.fromkeys((*REBUILT, "sound"), ("audio->text",))
    judged: tuple[str, ...] = ("seen", "unseen", *REBUILT)
    synthetic: Mapping[str, Sequence[str]] = {"unseen": ("video",)}
    aspects: Mapping[str, Sequence[str]] = {}

    def __init__(self) -> None:
        self.concepts = {concept.id: concept for concept in core()}
        self.labels = [concept.label for concept in self.concepts.values()]

    def chosen(self, split: str, limit: int | None) -> list[str]:
        """The same `limit` concepts for every cell and every run."""
        known = [name for name, concept in self.concepts.items() if split != "sound" or len(concept.sound) > 1]
        order = torch.randperm(len(known), generator=torch.Generator().manual_seed(100)).tolist()
        return [known[index] for index in order[:limit]]

    def label(self, concept: str) -> str:
        return self.concepts[concept].label

    def request(self, split: str, source: str, target: str, concept: str, seed: int) -> list[Message]:
        """One user turn in a template that training never saw."""
        return list(sibling("dialogues").request(self.concepts[concept], split, source, target, seed))

    def media(self, split: str, key: str, concept: str, seed: int) -> Any:
        """What goes in: a held-out medium."""
        return held_out(self.concepts[concept], key, split, seed)

    def real(self, split: str, key: str, concept: str, seed: int) -> Any:
        """What a right output would be: a held-out medium, or for text a reply, for the ceiling."""
        if key == "text":
            return sibling("dialogues").answer(self.concepts[concept], seed)
        return held_out(self.concepts[concept], key, split, seed + 1)

    def plain(self) -> list[str]:
        """Chat that must stay plain text."""
        return list(sibling("dialogues").plain_questions("test"))
