"""A contact sheet of any conversation: what was asked beside what was answered, as one picture and as one page.

`index.html` shows pictures and plays sound and clips from the files beside it, and links files of other kinds;
`sheet.png` is the same at a glance: a clip by three of its frames, a sound by its spectrogram, words as words.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont, ImageOps

from anyx.evaluation.sheet import GREY, TILE, spectrogram, tile
from anyx.interfaces import Media
from anyx.media import Audio, Image, Series, Video

WIDE = 3 * TILE
TAGS = {
    ".png": '<img alt="" src="{0}">',
    ".wav": '<audio controls src="{0}"></audio>',
    ".mp4": '<video controls loop autoplay muted src="{0}"></video>',
    ".txt": "",
}
LINK = '<a href="{0}">{0}</a>'  # to what pages do not show
STYLE = (
    "body{font:14px system-ui;margin:2em;max-width:80em}section{display:flex;gap:1em;align-items:center;"
    "border-top:1px solid #ddd;padding:.6em 0}h2{font-size:1em;width:9em;margin:0}div{width:22em}"
    "img,video{width:128px;image-rendering:pixelated;display:block}"
)


class Exchange(NamedTuple):
    """One request and its reply: words and media in order, and the files of either that the page shows."""

    title: str
    asked: Sequence[str | Media]
    answered: Sequence[str | Media]
    asked_files: Sequence[Path]
    answered_files: Sequence[Path]


def write(exchanges: Sequence[Exchange], out: Path, *, columns: int = 4) -> list[Path]:
    """Write `sheet.png` and `index.html`."""
    rows = -(-len(exchanges) // columns)
    high = 2 * TILE + 40
    page = PILImage.new("RGB", (columns * (2 * WIDE + 40), rows * high), "white")
    for number, exchange in enumerate(exchanges):
        left, top = number % columns * (2 * WIDE + 40) + 8, number // columns * high + 8
        pen = ImageDraw.Draw(page)
        pen.text((left, top), exchange.title, fill=GREY, font=ImageFont.load_default(13))
        for start, parts in ((left, exchange.asked), (left + WIDE + 16, exchange.answered)):
            media = [part for part in parts if not isinstance(part, str)][:1]
            words = " ".join(part.strip() for part in parts if isinstance(part, str))
            pieces: list[str | Media] = [*media, words]
            for place, part in enumerate(pieces):
                page.paste(thumbnail(part), (start, top + 18 + place * TILE))
    page.save(out / "sheet.png")
    body = "".join(
        f"<section><h2>{html.escape(one.title)}</h2><div>{shown(one.asked, one.asked_files, out)}</div>"
        f"<span>&rarr;</span><div>{shown(one.answered, one.answered_files, out)}</div></section>"
        for one in exchanges
    )
    document = f'<!doctype html><meta charset="utf-8"><title>anyx</title><style>{STYLE}</style>{body}'
    (out / "index.html").write_text(document, encoding="utf-8")
    return [out / "sheet.png", out / "index.html"]


def thumbnail(part: str | Media) -> PILImage.Image:
    """Words or a medium in a box of `WIDE` by `TILE`."""
    if isinstance(part, str):
        return tile(None, part, Path(), WIDE)
    if isinstance(part, Series):
        return tile(None, f"{len(part.values)} x {part.values.shape[1]} readings", Path(), WIDE)
    if not isinstance(part, Image | Audio | Video):
        return tile(None, type(part).__name__, Path(), WIDE)
    if isinstance(part, Audio):
        return spectrogram(part).resize((WIDE, TILE))
    if isinstance(part, Video):
        part = Image(torch.cat(list(part.sample(3).frames), dim=2))
    return ImageOps.pad(part.to_pil(), (WIDE, TILE), color="white")


def shown(parts: Sequence[str | Media], files: Sequence[Path], out: Path) -> str:
    """Words, and the media of files under `out`, as HTML."""
    words = "".join(f"<p>{html.escape(part)}</p>" for part in parts if isinstance(part, str))
    places = [(file.suffix, html.escape(file.relative_to(out).as_posix(), quote=True)) for file in files]
    return "".join(TAGS.get(suffix, LINK).format(place) for suffix, place in places) + words
