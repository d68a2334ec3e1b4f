"""Steps of an agent as the web demo shows them: words, arguments, media, boxes drawn; all of it escaped and bounded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from anyx.agents.steps import Step
from anyx.grounding import Region
from anyx.grounding.boxes import Box, Size, pixels
from anyx.grounding.draw import draw
from anyx.media import Audio, Image, Video
from anyx.reply import Media
from anyx.serving.web_shelf import Shelf

LETTERS = 4000  # of one text that is shown
BOXES = 64  # of one step
PHRASE = 60  # letters of a box's name
FILE = "gradio_api/file="
TAGS = {
    Image: '<a href="{0}" target="_blank"><img src="{0}" alt="{1}"></a>',
    Audio: '<audio controls src="{0}" title="{1}"></audio>',
    Video: '<video controls muted loop src="{0}" title="{1}"></video>',
}


class Steps:
    """The steps of one run so far; `html` shows them, with files on a visitor's shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.media: dict[str, Media] = {}
        self.asked: list[Media] = []
        self.words = ""
        self._shown: list[str] = []

    def hear(self, step: Step) -> None:
        """One more; pieces of words gather until the step comes that they are read as."""
        self.media |= step.media
        if step.kind == "words":
            self.words = (self.words + step.text)[-LETTERS:]
            return
        if step.kind == "asked":
            self.asked = list(step.media.values())
        self.words = ""
        self._shown.append(self._item(step))

    def html(self, *, running: bool) -> str:
        """All of them as a list."""
        now = f'<li data-kind="words"><p>{text(self.words)}</p></li>' if self.words and running else ""
        wait = '<li data-kind="waiting"><p>…</p></li>' if running and not now else ""
        state = "running" if running else "done"
        return f'<ol class="anyx-steps" id="anyx-steps" data-state="{state}">{"".join(self._shown)}{now}{wait}</ol>'

    def _item(self, step: Step) -> str:
        took = f'<span class="took">{step.seconds:.2f} s</span>' if step.seconds else ""
        head = f'<header><b>{step.kind}</b> <span class="at">{step.at:.2f} s</span> {took}</header>'
        if step.kind == "action":
            body = f"<p><code>{text(step.tool or '')}</code></p><pre>{text(plain(step.arguments))}</pre>"
        else:
            body = f"<p>{text(step.text)}</p>"
        media = "".join(self._medium(handle, one) for handle, one in step.media.items())
        return f'<li data-kind="{step.kind}" data-turn="{step.turn}">{head}{body}{media}{self._boxes(step)}</li>'

    def _medium(self, handle: str, medium: Media) -> str:
        tag = TAGS.get(type(medium), '<a href="{0}" download>{1}</a>')
        return figure(tag.format(self._address(medium), escape(handle)), handle)

    def _address(self, medium: Media) -> str:
        return escape(FILE + quote(str(self.shelf.place(medium))))

    def _boxes(self, step: Step) -> str:
        """The picture that boxes of a step are of, with them drawn."""
        picture, found = self._looked_at(step), regions(step.data)
        if picture is None or not found:
            return ""
        sized = [Region(one.phrase, tuple(pixels(box, Size.of(picture)) for box in one.boxes)) for one in found]
        address = self._address(draw(picture, sized))
        return figure(f'<img class="boxes" src="{address}" alt="boxes">', f"boxes: {len(found)}")

    def _looked_at(self, step: Step) -> Image | None:
        """The picture that a tool was given, or else the last one that the user sent."""
        named = [self.media.get(f"<{given.strip().strip('<>').strip()}>") for given in words_of(step.arguments)]
        pictures = [one for one in (*named, *reversed(self.asked)) if isinstance(one, Image)]
        return pictures[0] if pictures else None


def figure(shown: str, words: str) -> str:
    """HTML of a medium, with words below it."""
    return f"<figure>{shown}<figcaption>{text(words)}</figcaption></figure>"


def regions(data: Mapping[str, Any]) -> list[Region]:
    """The boxes of a step's data, shares of a picture's sides; what a tool says that is none is left out."""
    marked = data.get("regions")
    if isinstance(marked, list):
        pairs = [(one.get("box"), one.get("mark", "")) for one in marked[:BOXES] if isinstance(one, dict)]
    else:
        boxes, names = (one if isinstance(one, list) else [] for one in (data.get("boxes"), data.get("phrases")))
        pairs = list(zip(boxes[:BOXES], [*names, *[""] * BOXES], strict=False))
    return [Region(whole(str(name))[:PHRASE].replace("\n", " "), (box,)) for one, name in pairs if (box := box_of(one))]


def box_of(given: Any) -> Box | None:
    """Four shares, corners in order; None for anything else."""
    if not isinstance(given, list | tuple) or len(given) != 4:
        return None
    if not all(isinstance(one, int | float) and math.isfinite(one) and 0 <= one <= 1 for one in given):
        return None
    return tuple(map(float, given)) if given[0] <= given[2] and given[1] <= given[3] else None


def words_of(arguments: Mapping[str, Any]) -> Sequence[str]:
    """The arguments that are short texts, among which a handle is."""
    return [one for one in arguments.values() if isinstance(one, str) and len(one) < 80]


def plain(arguments: Mapping[str, Any]) -> str:
    """Arguments as JSON, a line each."""
    return json.dumps(dict(arguments), ensure_ascii=False, indent=1, default=str)


def text(given: str) -> str:
    """Words for a page: escaped, cut where there are too many."""
    kept = whole(given)
    return escape(kept if len(kept) <= LETTERS else f"{kept[:LETTERS]} … {len(kept) - LETTERS:,} more letters")


def whole(given: str) -> str:
    """Words without halves of characters, which JSON of a model may hold and no page can be sent."""
    return given.encode("utf-8", "replace").decode()
