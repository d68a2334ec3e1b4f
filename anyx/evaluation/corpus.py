"""What an evaluation asks of a corpus.

A corpus holds concepts, each with a label out of a closed list, and media of them that training never saw. Cells are
named input->output over its `keys`, of which "text" is words and the others are kinds of media. A corpus is an
experiment's own: the YAML names it as `file.py:Class`, relative to itself, so that nothing in anyx imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from anyx.interfaces import Media

Message = dict[str, Any]


class Corpus(Protocol):
    """Concepts with labels, requests about them, and real held-out media."""

    keys: Sequence[str]  # "text" and kinds of media, in the matrix's order
    splits: Sequence[str]  # each is measured in every cell
    apart: Mapping[str, Sequence[str]]  # further splits and the cells they are measured in
    judged: Sequence[str]  # splits whose real media show how good a judge is
    synthetic: Mapping[str, Sequence[str]]  # split -> keys whose held-out media are made, not found
    labels: Sequence[str]  # the closed list
    aspects: Mapping[str, Sequence[str]]  # by name the value that each label has: shape, colour; may be empty

    def chosen(self, split: str, limit: int | None) -> list[str]:
        """A fixed choice of at most `limit` concepts."""
        ...

    def label(self, concept: str) -> str:
        """The concept's label."""
        ...

    def request(self, split: str, source: str, target: str, concept: str, seed: int) -> list[Message]:
        """A conversation that asks for `target`; a medium that goes in stands as a part whose `media` is None."""
        ...

    def media(self, split: str, key: str, concept: str, seed: int) -> Media:
        """A held-out medium that goes in."""
        ...

    def real(self, split: str, key: str, concept: str, seed: int) -> Media | str:
        """A real output, for the ceiling of a judge."""
        ...

    def plain(self) -> list[str]:
        """Requests whose replies must be words only."""
        ...
