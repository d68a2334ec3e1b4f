"""What the text encoders of a pipeline are: their classes and folders, and how many positions a condition has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from .conditions import NAME
from .folders import Source


class Tower(NamedTuple):
    """One text encoder of a pipeline: transformers' class and its folders, and how it is built where there are none.

    `widths` are keys of its configuration that say how wide its answer is; `shifted`: it counts positions from its
    padding token on, as RoBERTa does. `length`: what captions are padded to, where that is less than it could read.
    `tokenizer` None: it reads no words, but what another tower answers. `load` reads it from the pipeline, where it is
    no model of transformers, or where the class that the pipeline names will not do.
    """

    family: str
    folder: str = "text_encoder"
    tokenizer: str | None = "tokenizer"
    widths: Mapping[str, int] = {}
    shifted: bool = False
    length: int | None = None
    load: Callable[[Source], Any] | None = None

    @property
    def slot(self) -> str:
        """The name of its module: encoder, encoder_2, ..."""
        return self.folder.removeprefix("text_")


def text_length(
    source: Source, text: Mapping[str, Any] | None, tokenizer: Mapping[str, Any] | None, given: int | None
) -> int:
    """How many positions a condition has: as the folder's null condition or text encoder says, or as given."""
    shapes = source.null_shapes()
    return shapes[NAME][1] if NAME in shapes else encoder_length(source, text, tokenizer, given)


def encoder_length(
    source: Source, text: Mapping[str, Any] | None, tokenizer: Mapping[str, Any] | None, given: int | None
) -> int:
    """How many positions the (first) text encoder reads, or what is given."""
    if source.class_of("text_encoder") is not None:
        known = source.config("text_encoder").get("max_position_embeddings")
        if known is not None:
            return int(known)
    elif text is not None:
        return positions_of(text, tokenizer, given)
    if given is None:
        raise ValueError("length: the decoder has no text encoder, so say how many positions its condition has")
    return given


def check_towers(
    text: Mapping[str, Any] | None, towers: Sequence[Tower], *, optional: Collection[str] = (), width: int | None = None
) -> None:
    """Configurations are of these towers, all but `optional` ones; side by side they are `width` wide."""
    if text is None:
        return
    folders = [tower.folder for tower in towers]
    if set(text) - set(folders) or set(folders) - set(text) - set(optional):
        told = f", where {', '.join(optional)} may be missing" if optional else ""
        raise ValueError(f"text: {', '.join(text)} given; it has {', '.join(folders)}{told}")
    wide = [int(text[name].get("hidden_size", 512)) for name in folders] if width is not None else []
    if width is not None and sum(wide) != width:
        raise ValueError(f"text: hidden_size is {' + '.join(map(str, wide))}, but the denoiser reads {width}")


def positions_of(text: Mapping[str, Any], tokenizer: Mapping[str, Any] | None, given: int | None) -> int:
    """How many positions a text encoder of such a configuration reads."""
    return (tokenizer or {}).get("length") or given or text.get("max_position_embeddings", 77)
