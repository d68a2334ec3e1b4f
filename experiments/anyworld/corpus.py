"""AnyWorld as a corpus for `anyx evaluate`: 60 scenes that training has, 12 that share all their values with those.

A concept is a scene and the number of one of its copies: `two-red-circle-left-3`. Each copy has its own place, size,
brightness and noise, and its own words, none of which training drew. Cells of the split `seen` ask for new copies of
scenes that were trained with; those of `held_out` for combinations that never were, whose every value, and every two of
them, were: they test whether a model composes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from anyx.evaluation.corpus import Message
from anyx.imports import import_file
from anyx.interfaces import Media

FOLDER = Path(__file__).parent
world = import_file(FOLDER / "world.py")
MEDIA = {"image": world.picture, "audio": world.sound, "video": world.clip}
COPIES = 4  # of every scene in a split


def sibling(name: str) -> ModuleType:
    """Another file of this folder as a module, wherever the interpreter was started."""
    return import_file(FOLDER / f"{name}.py")


def generator(*parts: object) -> torch.Generator:
    """A generator that the parts decide."""
    seed = int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=7).digest(), "little")
    return torch.Generator().manual_seed(seed)


def scenes(split: str) -> list[Any]:
    """The scenes of a split."""
    return [scene for scene in world.SCENES if world.held_out(scene) == (split == "held_out")]


def scene_of(concept: str) -> Any:
    """The scene of a concept's name."""
    return world.Scene(*concept.split("-")[:4])


class AnyWorld:
    """What the evaluation asks of a corpus: labels, cells, requests, media that training never saw."""

    keys: tuple[str, ...] = ("text", *MEDIA)
    splits: tuple[str, ...] = ("seen", "held_out")
    apart: Mapping[str, Sequence[str]] = {}
    judged: tuple[str, ...] = ("seen", "held_out")
    synthetic: Mapping[str, Sequence[str]] = {"seen": tuple(MEDIA), "held_out": tuple(MEDIA)}

    def __init__(self) -> None:
        self.labels = [scene.label for scene in world.SCENES]
        self.aspects = {name: [scene[place] for scene in world.SCENES] for place, name in enumerate(world.VALUES)}

    def chosen(self, split: str, limit: int | None) -> list[str]:
        """The same `limit` concepts for every cell and every run: no scene twice before each was there once."""
        names: list[str] = []
        for copy in range(COPIES):
            known = scenes(split)
            order = torch.randperm(len(known), generator=torch.Generator().manual_seed(100 + copy)).tolist()
            names += [f"{'-'.join(known[index])}-{copy}" for index in order]
        return names[:limit]

    def label(self, concept: str) -> str:
        """What the scene is called."""
        return str(scene_of(concept).label)

    def request(self, split: str, source: str, target: str, concept: str, seed: int) -> list[Message]:
        """One user turn in words that training never put together so."""
        return list(sibling("dialogues").request(scene_of(concept), source, target, f"{split}/{concept}/{seed}"))

    def media(self, split: str, key: str, concept: str, seed: int) -> Media:
        """What goes in: a copy of the scene."""
        made: Media = MEDIA[key](scene_of(concept), generator("test", split, key, concept, seed))
        return made

    def real(self, split: str, key: str, concept: str, seed: int) -> Media | str:
        """What a right output would be: another copy, or for text a reply."""
        return f"{self.label(concept)}." if key == "text" else self.media(split, key, concept, seed + 1)

    def plain(self) -> list[str]:
        """Chat that must stay plain text."""
        return [question for question, _ in sibling("dialogues").plain_pairs("test")]
