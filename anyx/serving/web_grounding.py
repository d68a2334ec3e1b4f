"""The grounding tab: a picture, a task, a box of two clicks; the answer in words and drawn on the picture."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from anyx.grounding import Box, Region
from anyx.grounding.draw import draw
from anyx.media import Image
from anyx.serving.intake import Refused
from anyx.serving.web_answer import Answer
from anyx.serving.web_chat import BUSY, WARNING, name_of
from anyx.serving.web_ground import Ground, box_of, corners
from anyx.serving.web_guests import Guest, Guests
from anyx.serving.web_uploads import Uploads, unopened
from anyx.watching import Cancelled

log = logging.getLogger("anyx")
TOKENS = 200  # of an answer; a detection says many boxes
WORDS = {  # what each of MiniGPT-v2's tasks is asked with
    "vqa": "a question: what colour is the dog?",
    "caption": "please describe this image",
    "grounding": "please describe this image in detail",
    "refer": "what to find: the dog on the left",
    "detection": "what to find: dogs",
    "identify": "what is this {box}",
}


class Grounding:
    """The handlers of the tab; the picture is kept here as it was read, what the page shows is a drawing of it."""

    def __init__(self, guests: Guests, uploads: Uploads, ground: Ground) -> None:
        self.guests, self.uploads, self.ground = guests, uploads, ground

    def take(self, request: gr.Request, path: str | None) -> tuple[Any, ...]:
        """A picture was given or taken away: no box, no answer, and it, to be clicked on."""
        guest = self.guests.of(name_of(request))
        guest.ground = guest.corner = None
        if path is None:
            return "", "", None
        try:
            guest.ground = self.uploads.read(Image, Path(path))
        except Refused as refused:
            return "", line(refused), None
        return "", "", str(guest.shelf.place(guest.ground))

    def click(self, request: gr.Request, clicked: gr.SelectData, box: str) -> tuple[Any, str]:
        """A corner was clicked: the second of two makes a box, which is drawn."""
        guest = self.guests.of(name_of(request))
        picture = guest.ground
        if not isinstance(picture, Image):
            return None, ""
        point = float(clicked.index[0]), float(clicked.index[1])
        if guest.corner is None:
            guest.corner = point
            return str(guest.shelf.place(drawn(picture, (point,)))), ""
        made, guest.corner = corners(guest.corner, point), None
        return str(guest.shelf.place(drawn(picture, (made,)))), ", ".join(f"{number:g}" for number in made)

    def ask(self, request: gr.Request, task: str | None, words: str, box: str) -> Iterator[tuple[str, Any]]:
        """Answer in words as they come; at the end its boxes, drawn."""
        guest = self.guests.of(name_of(request))
        if not guest.begins():
            yield line(BUSY), gr.skip()
            return
        try:
            yield from self._answers(guest, task or "", words or "", box or "")
        except Cancelled:
            yield "■ stopped", gr.skip()
        except ValueError as error:
            yield line(error), gr.skip()
        except Exception:
            log.exception("a grounded reply failed")
            yield line("this reply failed on the server; try again, or another request"), gr.skip()
        finally:  # also where the page was closed
            guest.ends()

    def stop(self, request: gr.Request) -> None:
        """End the answer that is being made."""
        self.guests.of(name_of(request)).stop()

    def _answers(self, guest: Guest, task: str, words: str, box: str) -> Iterator[tuple[str, Any]]:
        picture = guest.ground
        if not isinstance(picture, Image):
            raise ValueError("there is no picture yet: drop one, or take one")
        boxes = [box_of(box, picture)] if box.strip() else []
        message = self.ground.message(picture, task, words, boxes, self.guests.model)
        session = self.guests.session()
        session.sampling = self.guests.model.sampling.but(TOKENS)
        answer = Answer(session, [message], 0)
        guest.watch = answer.watch
        for draft in answer:
            yield escape(draft.reply.text) or "…", gr.skip()
        text, regions, shown = self.ground.found(picture, answer.reply.text)
        told = f"<p>{escape(text.strip()) or 'It said no words.'}</p>{table(regions)}"
        yield told, str(guest.shelf.place(shown)) if regions else gr.skip()


def tab(guests: Guests, uploads: Uploads, ground: Ground) -> None:
    """The tab, laid out where it is called."""
    handlers = Grounding(guests, uploads, ground)
    with gr.Row():
        with gr.Column(min_width=300):
            picture = gr.Image(
                sources=["upload", "webcam", "clipboard"], type="filepath", label="Picture",
                elem_id="anyx-ground",
            )  # fmt: skip
            picture.preprocess = unopened  # type: ignore[method-assign]
            tasks = list(ground.tasks)
            task = gr.Radio(tasks, value=None, label="Task", elem_id="anyx-task", visible=bool(tasks))
            words = gr.Textbox(label="Words", placeholder="what is this {box}", elem_id="anyx-ground-words")
            box = gr.Textbox(label="Box: x0, y0, x1, y1 in pixels", elem_id="anyx-ground-box")
            with gr.Row():
                ask = gr.Button("Ask", variant="primary", elem_id="anyx-ground-ask")
                stop = gr.Button("■ Stop", elem_id="anyx-ground-stop")
        with gr.Column(min_width=300):
            told = gr.HTML("", elem_id="anyx-ground-told")
            gr.Markdown("Click two corners of a box on the picture:")
            shown = gr.Image(
                interactive=False, buttons=[], type="filepath", show_label=False,
                elem_id="anyx-ground-shown",
            )  # fmt: skip
            shown.preprocess = unopened  # type: ignore[method-assign]
    quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None}
    for event in (picture.input, picture.clear):
        event(handlers.take, picture, [box, told, shown], **quiet)
    shown.select(handlers.click, box, [shown, box], **quiet)
    task.change(lambda name: gr.update(placeholder=WORDS.get(name, "words")), task, words, **quiet)
    for asked in (ask.click, words.submit):
        asked(handlers.ask, [task, words, box], [told, shown], **quiet)
    stop.click(handlers.stop, None, None, **quiet)


def drawn(picture: Image, boxes: tuple[Box, ...]) -> Image:
    """A picture with boxes or points on it."""
    return draw(picture, [Region("", boxes)])


def line(error: Exception | str) -> str:
    """An error, in its place."""
    return f"<p>{WARNING}{escape(str(error))}</p>"


def table(regions: list[Region]) -> str:
    """Phrases and their boxes, in pixels."""
    rows = [
        f"<tr><td>{escape(region.phrase) or '—'}</td><td>{', '.join(f'{number:.0f}' for number in box)}</td></tr>"
        for region in regions
        for box in region.boxes
    ]
    return (
        f'<div class="anyx-trace"><table><tr><th>what</th><th>box</th></tr>{"".join(rows)}</table></div>'
        if rows
        else ""
    )
