"""Emoji world's pictures alone: what `evaluation.yaml` asks, each thing once a split and nothing but its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from anyx.imports import import_file

emoji = import_file(Path(__file__).parents[1] / "emoji" / "corpus.py")


class PictureCorpus(emoji.EmojiCorpus):  # type: ignore[name-defined, misc]
    """Held-out pictures of the styles met in training (seen) and of another artist (unseen)."""

    keys: tuple[str, ...] = ("text", "image")
    apart: Mapping[str, Sequence[str]] = {}
    judged: tuple[str, ...] = ("seen", "unseen")
    synthetic: Mapping[str, Sequence[str]] = {}
    aspects: Mapping[str, Sequence[str]] = {}

    def plain(self) -> list[str]:
        """No chat is asked."""
        return []
