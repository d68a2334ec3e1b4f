"""Examples for every route: those beside the model (`demo.jsonl`), or made from its inputs and outputs."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from math import pi
from pathlib import Path
from typing import NamedTuple

import torch

from anyx.data.sources import JSONLSource
from anyx.interfaces import Media
from anyx.media import Audio, Image, Kind, Series, Video
from anyx.model import AnyX
from anyx.reply import suffix_of

BESIDE = "demo.jsonl"


class Example(NamedTuple):
    """Something to ask: a name that says the route, words, and files with the inputs that read them."""

    name: str
    words: str
    files: tuple[tuple[str, Path], ...]


def examples(model: AnyX, place: Path | None, folder: Path) -> list[Example]:
    """The examples of a file of requests, or else of the model's own routes; their media are copied into a folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return list(written(place, folder) if place is not None else derived(model, folder))


def beside(model: Path) -> Path | None:
    """The requests that lie beside a model's folder, if there are any."""
    place = model.parent / BESIDE
    return place if model.is_dir() and place.is_file() else None


def written(place: Path, folder: Path) -> Iterator[Example]:
    """One example a line: `{"id": "image->audio", "messages": [...]}`; the first message is asked.

    A part of it has a `path`, or holds a small file itself: `{"type": "image", "name": "a.webp", "data": base64}`,
    which later parts use again by its `name` alone.
    """
    for number, record in enumerate(JSONLSource(str(place))):
        content = record["messages"][0]["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        words = " ".join(part["text"] for part in parts if part["type"] == "text")
        files = []
        for part in parts:
            if part["type"] != "text":
                source = Path(part.get("name") or part["path"])
                target = folder / (source.name if "name" in part else f"{number}_{source.name}")
                if "data" in part:
                    target.write_bytes(base64.b64decode(part["data"], validate=True))
                elif "name" not in part:
                    shutil.copy(source, target)
                files.append((part["type"], target))
        yield Example(str(record["id"]).replace("->", " → "), words, tuple(files))


def derived(model: AnyX, folder: Path) -> Iterator[Example]:
    """One example for each pair of an input and an output, words among them."""
    given: dict[str, tuple[tuple[str, Path], ...]] = {"text": ()}
    for key, port in model.inputs.items():
        media = sample(port.kind)
        given[key] = ((key, media.save(folder / f"{key}.{suffix_of(media)}")),)
    for source, files in given.items():
        for target in ("text", *model.outputs):
            asked = {"text": "What is this?" if files else "Who are you?"}
            yield Example(f"{source} → {target}", asked.get(target, f"Answer with {target}."), files)


def sample(kind: Kind) -> Media:
    """A small medium of a kind: a disc, a tone, a disc that moves, two waves."""
    seconds = torch.arange(16000) / 16000
    if kind is Audio:
        return Audio(0.3 * torch.sin(2 * pi * 440 * seconds)[None], 16000)
    if kind is Series:
        return Series(torch.stack([torch.sin(2 * pi * seconds[::160]), torch.cos(2 * pi * seconds[::160])]), 100)
    if kind is Video:
        return Video(torch.stack([_disc(32 + 8 * step) for step in range(8)]), 8)
    return Image(_disc(64))


def _disc(x: int, side: int = 128) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    inside = (rows - side // 2) ** 2 + (columns - x) ** 2 < (side // 5) ** 2
    colours = torch.tensor([230, 60, 60])[:, None, None], torch.tensor([245, 245, 240])[:, None, None]
    return torch.where(inside, *colours).to(torch.uint8)
