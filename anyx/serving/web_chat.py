"""The chat of the web demo: what stands on the page, and what each button does.

The page never says what was said before: turns are kept here (`web_guests.py`), so nobody can put words or files into
them from outside, and nothing is encoded twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from html import escape, unescape
from typing import Any

import gradio as gr

from anyx.serving import web_export, web_trace
from anyx.serving.intake import Refused
from anyx.serving.web_answer import Answer
from anyx.serving.web_examples import Example
from anyx.serving.web_guests import Guest, Guests, Turn
from anyx.serving.web_settings import Settings
from anyx.serving.web_uploads import Uploads
from anyx.watching import Cancelled

log = logging.getLogger("anyx")
Page = tuple[Any, ...]
WARNING = "⚠ "
BUSY = "the last reply is still being made; stop it first"


class Chat:
    """The handlers; `uploads` reads what is attached, `settings` what is chosen."""

    def __init__(self, guests: Guests, uploads: Uploads, settings: Settings) -> None:
        self.guests, self.uploads, self.settings = guests, uploads, settings

    def guest(self, request: gr.Request) -> Guest:
        """Who asks: known by the cookie of their browser and the number of their page."""
        return self.guests.of(name_of(request))

    def send(self, request: gr.Request, given: dict[str, Any] | None, *more: Any) -> Iterator[Page]:
        """Answer what is in the box and in the slots; `more` is those, then the settings."""
        guest, slots = self.guest(request), self.uploads.slots
        words, files = (given or {}).get("text") or "", (given or {}).get("files") or []
        turn = Turn({"role": "user", "content": [{"type": "text", "text": words}]})
        try:
            media = self.uploads.parts(files, dict(zip(slots, more, strict=False)))
            held = [part for one in guest.turns for part in one.parts if not isinstance(part, str)]
            if len(held) + len(media) > self.settings.most.media:
                raise Refused(
                    f"a conversation has at most {self.settings.most.media} files; clear it to begin anew", 413
                )
            content = [*media, *([{"type": "text", "text": words}] if words.strip() else [])]
            if not content:
                raise Refused("nothing was asked: type something, or attach a file")
            turn.message = {"role": "user", "content": content}
        except Refused as refused:
            turn.error = str(refused)
        yield from self.answer(guest, [*asked(guest), turn], more[len(slots) :])

    def again(self, request: gr.Request, *values: Any) -> Iterator[Page]:
        """Answer the last turn once more, with the next seed."""
        guest = self.guest(request)
        if not guest.turns:
            yield self.page(guest)
            return
        *before, last = guest.turns
        yield from self.answer(guest, [*before, Turn(last.message)], values, seed=last.seed + 1)

    def edit(self, request: gr.Request, edited: gr.EditData, *values: Any) -> Iterator[Page]:
        """Answer a turn whose words were changed; what came after it is forgotten."""
        guest = self.guest(request)
        number = turn_of(guest, edited.index)
        if number is None:
            yield self.page(guest)
            return
        old = guest.turns[number].message["content"]
        content = [part for part in old if part["type"] != "text"] + [
            {"type": "text", "text": unescape(str(edited.value))}
        ]
        turn = Turn({"role": "user", "content": content})
        yield from self.answer(guest, [*asked(guest)[:number], turn], values)

    def answer(self, guest: Guest, turns: list[Turn], values: Any, *, seed: int | None = None) -> Iterator[Page]:
        """Answer the last of these turns, which take the place of those that are known."""
        if not guest.begins():
            yield self.page(guest, doing=WARNING + BUSY, busy=True)
            return
        turn = turns[-1]
        guest.turns = turns
        try:
            if not turn.error:
                yield from self._answered(guest, turn, values, seed)
        except Cancelled:
            turn.stopped = True
        except ValueError as error:
            turn.error = str(error)
        except Exception:
            log.exception("a reply failed")
            turn.error = "this reply failed on the server; try again, or another request"
        finally:
            guest.ends()
        yield self.page(guest)

    def _answered(self, guest: Guest, turn: Turn, values: Any, seed: int | None) -> Iterator[Page]:
        chosen = self.settings.read(values)
        turn.seed = chosen.seed if seed is None else seed
        turn.settings = chosen.told() | {"seed": turn.seed}
        guest.session.sampling, guest.session.decode = chosen.sampling, chosen.decode
        answer = Answer(guest.session, [*guest.conversation(len(guest.turns) - 1), turn.message], turn.seed)
        guest.watch = turn.watch = answer.watch
        yield self.page(guest, doing="…", busy=True)
        try:
            for draft in answer:
                turn.reply = draft.reply
                yield self.page(guest, doing=draft.doing, busy=True)
        finally:
            turn.reply = answer.reply

    def stop(self, request: gr.Request) -> None:
        """End the reply that is being made."""
        self.guest(request).stop()

    def clear(self, request: gr.Request) -> Page:
        """Forget the conversation and its files."""
        guest = self.guest(request)
        guest.leave()
        return self.page(guest)

    def file(self, request: gr.Request) -> Any:
        """The conversation as a file to take away."""
        guest = self.guest(request)
        if not guest.turns:
            raise gr.Error("there is no conversation yet to download", print_exception=False)
        return str(web_export.write(guest.turns, guest.shelf.fresh("conversation.zip")))

    def leave(self, request: gr.Request) -> None:
        """The page was closed."""
        self.guests.leave(name_of(request))

    def page(self, guest: Guest, *, doing: str = "", busy: bool = False) -> Page:
        """What changes on the page: the talk, the box, the panel."""
        talk = [message for turn in guest.turns for message in shown(guest, turn)]
        if doing:
            talk += [] if talk and talk[-1]["role"] == "assistant" else [{"role": "assistant", "content": []}]
            talk[-1]["content"].append({"type": "text", "text": escape(doing)})
        box = (
            gr.update(submit_btn=not busy, stop_btn=busy)
            if busy
            else gr.update(value=None, submit_btn=True, stop_btn=False)
        )
        panel = gr.skip() if busy else web_trace.panel(self.guests.model, guest.turns)
        return talk, box, panel


def name_of(request: gr.Request) -> str:
    """What a visitor is known by: nobody else knows it."""
    return f"{request.cookies.get('anyx', '')}/{request.session_hash}"


def asked(guest: Guest) -> list[Turn]:
    """The turns that go on: those that failed or were stopped before a word are left out."""
    return [turn for turn in guest.turns if turn.answered]


def shown(guest: Guest, turn: Turn) -> list[dict[str, Any]]:
    """A turn as messages of Gradio's chatbot, every part in its place; words are escaped.

    Gradio renders what looks like HTML even where Markdown is off.
    """
    messages = [{"role": "user", "content": [part_of(guest, part) for part in turn.parts]}]
    said = [part_of(guest, part) for part in (turn.reply.parts if turn.reply else [])]
    if turn.stopped:
        said.append({"type": "text", "text": "■ stopped"})
    if turn.error:
        said.append({"type": "text", "text": escape(WARNING + turn.error)})
    return [*messages, {"role": "assistant", "content": said}] if said else messages


def part_of(guest: Guest, part: Any) -> dict[str, Any]:
    """Words, or the file of a medium."""
    if isinstance(part, str):
        return {"type": "text", "text": escape(part.strip())}
    path = guest.shelf.place(part)
    return {"path": str(path), "alt_text": type(part).__name__.lower()}


def turn_of(guest: Guest, index: Any) -> int | None:
    """The number of the turn whose own message stands at an index of the talk."""
    place = index[0] if isinstance(index, list | tuple) else index
    known = 0
    for number, turn in enumerate(guest.turns):
        if known == place:
            return number
        known += len(shown(guest, turn))
    return None


def filled(example: Example, uploads: Uploads) -> Any:
    """An example in the box and in the slots: one value where there is the box alone, as Gradio wants it."""
    files = [str(path) for key, path in example.files if key not in uploads.slots]
    slots = {key: str(path) for key, path in example.files}
    box = {"text": example.words, "files": files}
    return (box, *(slots.get(key) for key in uploads.slots)) if uploads.slots else box
